"""A board whose line is standard input and output, for ``--port pipe:``; it writes its process number to a file."""

import os
import pathlib
import sys

from tests.firmware.demo.boards import MNIST, Bench, Line


def main():
    pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))
    line = Line(Bench(MNIST))
    while data := os.read(0, 1 << 16):
        line.write(data)
        while answer := line.read(1 << 16, 0):
            os.write(1, answer)


if __name__ == "__main__":
    main()
