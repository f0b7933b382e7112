"""Reads the VCD that Verilator writes (IEEE 1800-2023, section 21.7): what a viewer sees."""

import bisect
import dataclasses


@dataclasses.dataclass
class Wave:
    """Value changes of all signals."""

    timescale: str
    #: Names with their scopes and, of vectors, their bits, as viewers know them.
    declared: set[str]
    #: By the name without the bits: times and values.
    changes: dict[str, tuple[list[int], list[int]]]
    #: The last time.
    end: int

    def sampled(self, name, *, start, step):
        """Values of a signal at times from ``start`` on."""
        times, values = self.changes[name]
        return [values[bisect.bisect_right(times, time) - 1] for time in range(start, self.end + 1, step)]


def read_vcd(path):
    scopes, codes, declared, changes = [], {}, set(), {}
    timescale = None
    time = 0
    with path.open(encoding="ascii") as file:
        for line in file:
            words = line.split()
            match words:
                case []:
                    pass
                case ["$scope", _, name, "$end"]:
                    scopes.append(name)
                case ["$upscope", "$end"]:
                    scopes.pop()
                case ["$var", _, _, code, name, *bits, "$end"]:
                    full = ".".join([*scopes, name])
                    declared.add(full + "".join(bits))
                    changes[full] = codes.setdefault(code, ([], []))
                case ["$timescale", value, "$end"]:
                    timescale = value
                case [word] if word.startswith("#"):
                    time = int(word[1:])
                case [word, code] if word.startswith("b"):
                    codes[code][0].append(time)
                    codes[code][1].append(int(word[1:], 2))
                case [word] if word[0] in "01":
                    codes[word[1:]][0].append(time)
                    codes[word[1:]][1].append(int(word[0]))
                case _:
                    assert words[0].startswith("$"), line
    return Wave(timescale, declared, changes, time)
