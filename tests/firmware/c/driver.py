"""The C driver, compiled with sanitizers in a process of its own, as an object of Python."""

import pathlib
import struct
import subprocess
import tempfile

from arch.link import MAGIC, VERSION, ErrorCode, Info, InputEncoding, LinkCounters, Result
from tests.firmware.c.compilers import SANITIZED, SOURCES, compile_c

OK, NO_ANSWER, LINE_FAILED, NOISE, OTHER_VERSION, MALFORMED, WRONG_USE = range(0, -7, -1)


class DriverError(Exception):
    """A function of the driver returned something else than STERNA_OK."""

    def __init__(self, status):
        super().__init__(status)
        self.status = ErrorCode(status) if 0 < status <= max(ErrorCode) else status


def compiled(folder):
    """Compile the driver with its process; return the program."""
    program = pathlib.Path(folder) / "driver_process"
    compile_c(*SANITIZED, SOURCES / "sterna.c", pathlib.Path(__file__).with_name("driver_process.c"), "-o", program)
    return program


class Driver:
    """A session of the driver. Use it as a context manager: its end checks what the sanitizers say.

    Parameters
    ----------
    program
        What :func:`compiled` has made.
    line
        The line: ``write(data) -> bool`` and ``read(size, timeout_ms) -> (bytes or None, elapsed_ms)``.
    order
        Order of bytes of the processor, as in a format of ``struct``.
    emulator
        A program that runs it, if it is for another processor.
    """

    #: The members of ``struct sterna_network``, as a C compiler lays them out.
    NETWORK = "I4B2B3HI8sB3s33s3BH2x"

    def __init__(self, program, line, *, order="=", emulator=()):
        self.line, self.order = line, order
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen([*emulator, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors)
        (self.network_bytes,) = self.numbers("I")
        assert self.network_bytes == struct.calcsize(order + self.NETWORK)
        self.network = self.counters = None

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        self.process.stdin.close()
        self.process.stdout.close()
        status = self.process.wait(10)
        self.errors.seek(0)
        said = self.errors.read().decode()
        self.errors.close()
        assert (status, said) == (0, "")

    def take(self, size):
        data = self.process.stdout.read(size)
        if len(data) < size:
            self.errors.seek(0)
            raise AssertionError(f"driver ended: {self.errors.read().decode()}")
        return data

    def numbers(self, form):
        """Take members of a structure, in the order of the processor."""
        return struct.unpack(self.order + form, self.take(struct.calcsize(self.order + form)))

    def call(self, command, *numbers, data=b""):
        """Call a function; be its line; return its status."""
        pipe = self.process.stdin
        pipe.write(command + struct.pack(f"{self.order}{len(numbers)}I", *numbers) + data)
        pipe.flush()
        while (kind := self.take(1)) != b"d":
            (size,) = self.numbers("I")
            if kind == b"w":
                pipe.write(bytes((self.line.write(self.take(size)),)))
            else:
                assert kind == b"r"
                assert size > 0
                (timeout,) = self.numbers("I")
                answer, elapsed = self.line.read(size, timeout)
                count = -1 if answer is None else len(answer)
                pipe.write(struct.pack(f"{self.order}iI", count, elapsed) + (answer or b""))
            pipe.flush()
        (status,) = self.numbers("i")
        return status

    def checked(self, *arguments, **options):
        if (status := self.call(*arguments, **options)) != OK:
            raise DriverError(status)

    def begin(self, *, tag=1, timeout=1000, silence=100, retries=3, clock=0xFFFF_FF00):
        """Begin a session; its clock soon goes through zero."""
        self.checked(b"N", tag, timeout, silence, retries, clock)

    def _told(self):
        (magic, version, lanes, width, circuit_timesteps, encoding, channels, height, columns, classes, clock_khz,
         digest, timesteps, reserved, name, *counters, size) = self.numbers(self.NETWORK)
        assert (magic.to_bytes(4, "little"), version, reserved) == (MAGIC, VERSION, bytes(3))
        assert name.endswith(b"\0")
        self.network = Info(
            lanes=lanes, width=width, circuit_timesteps=circuit_timesteps, timesteps=timesteps,
            encoding=InputEncoding(encoding), channels=channels, image_height=height, image_width=columns,
            classes=classes, clock_khz=clock_khz, digest=digest, name=name.partition(b"\0")[0].decode())
        assert self.network.image_bytes == size
        self.counters = LinkCounters(bad_frames=counters[0], overruns=counters[1], aborted_frames=counters[2])
        return self.network

    def info(self):
        self.checked(b"I")
        return self._told()

    def select(self, model):
        self.checked(b"S", model)
        return self._told()

    def send(self, image):
        self.checked(b"C", len(image), data=image)

    def result(self, room=None):
        """Return the next result; without scores if there is no room for any."""
        room = self.network.classes if room is None else room
        self.checked(b"R", room)
        label, cycles, stalls, flash_stalls = self.numbers("4I")
        scores = self.numbers(f"{room}i")[:self.network.classes]
        return Result(label=label, cycles=cycles, stalls=stalls, flash_stalls=flash_stalls, scores=scores)

    def classify_all(self, images):
        """Keep two images on their way; yield the results."""
        for index, image in enumerate(images):
            self.send(image)
            if index:
                yield self.result()
        yield self.result()

    @property
    def faults(self):
        return self.call(b"P")
