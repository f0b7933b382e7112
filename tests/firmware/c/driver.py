"""The C driver, compiled with sanitizers in a process of its own, as an object of Python."""

import pathlib
import struct
import subprocess
import tempfile

from arch.link import ErrorCode, Info, InputEncoding, LinkCounters, Result
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
    """

    #: The members of ``struct sterna_network``, as a C compiler lays them out.
    NETWORK = "@6B4HI8s33s3B0I"

    def __init__(self, program, line):
        self.line = line
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        (self.network_bytes,) = struct.unpack("=I", self.take(4))
        assert self.network_bytes == struct.calcsize(self.NETWORK)
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

    def call(self, command, *numbers, data=b""):
        """Call a function; be its line; return its status."""
        pipe = self.process.stdin
        pipe.write(command + struct.pack(f"={len(numbers)}I", *numbers) + data)
        pipe.flush()
        while (kind := self.take(1)) != b"d":
            (size,) = struct.unpack("=I", self.take(4))
            if kind == b"w":
                pipe.write(bytes((self.line.write(self.take(size)),)))
            else:
                assert kind == b"r"
                assert size > 0
                (timeout,) = struct.unpack("=I", self.take(4))
                answer, elapsed = self.line.read(size, timeout)
                pipe.write(struct.pack("=iI", -1 if answer is None else len(answer), elapsed) + (answer or b""))
            pipe.flush()
        (status,) = struct.unpack("=i", self.take(4))
        return status

    def checked(self, *arguments, **options):
        if (status := self.call(*arguments, **options)) != OK:
            raise DriverError(status)

    def begin(self, *, tag=1, timeout=1000, silence=100, retries=3, clock=0xFFFF_FF00):
        """Begin a session; its clock soon goes through zero."""
        self.checked(b"N", tag, timeout, silence, retries, clock)

    def _told(self):
        (lanes, width, circuit_timesteps, timesteps, encoding, channels, height, columns, size, classes, clock_khz,
         digest, name, *counters) = struct.unpack(self.NETWORK, self.take(self.network_bytes))
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
        label, cycles, stalls, flash_stalls = struct.unpack("=4I", self.take(16))
        scores = struct.unpack(f"={room}i", self.take(4 * room))[:self.network.classes]
        return Result(label=label, cycles=cycles, stalls=stalls, flash_stalls=flash_stalls, scores=scores)

    def classify_all(self, images):
        """Keep two images on their way; yield the results."""
        for index, image in enumerate(images):
            self.send(image)
            if index:
                yield self.result()
        yield self.result()

    @property
    def repeated(self):
        return self.call(b"P")
