"""The compressor of FST: what a decompressor of LZ4 blocks makes of it is what went in, and smaller."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

HEADER = Path(__file__).parents[2] / "sim" / "lz4.h"
SEED = 7


@pytest.fixture(scope="module")
def compress(tmp_path_factory):
    """A program made of the header: bytes in, block out."""
    folder = tmp_path_factory.mktemp("lz4")
    (folder / "main.cpp").write_text(f"""
#include <cstdio>
#include <iterator>
#include <vector>
#include "{HEADER}"
int main() {{
    std::vector<char> in;
    for (int letter; (letter = getchar()) != EOF;) in.push_back(static_cast<char>(letter));
    int bound = LZ4_compressBound(static_cast<int>(in.size()));
    // Whatever is written behind the bound is seen.
    std::vector<char> out(bound + 64, 0x5A);
    int size = LZ4_compress_default(in.data(), out.data(), static_cast<int>(in.size()), bound);
    for (int at = bound; at < bound + 64; ++at) if (out[at] != 0x5A) return 3;
    if (size > bound) return 4;
    fwrite(out.data(), 1, size, stdout);
}}
""")
    subprocess.run(["g++", "-std=gnu++17", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined",
                    folder / "main.cpp", "-o", folder / "main"], check=True)
    return lambda data: subprocess.run([folder / "main"], input=data, capture_output=True, check=True).stdout


def length(block, at, nibble):
    """A length of a sequence, which the bytes from ``at`` on extend if it is 15; and where they end."""
    if nibble < 15:
        return nibble, at
    while block[at] == 255:
        at, nibble = at + 1, nibble + 255
    return nibble + block[at], at + 1


def decompress(block):
    """Decode a block as the description of LZ4's block format says, and check its rules for the end."""
    out, at, start = bytearray(), 0, None
    while True:
        token = block[at]
        literals, at = length(block, at + 1, token >> 4)
        out += block[at:at + literals]
        at += literals
        if at == len(block):
            break
        distance = int.from_bytes(block[at:at + 2], "little")
        assert 0 < distance <= len(out)
        match, at = length(block, at + 2, token & 15)
        start = len(out)
        for _ in range(match + 4):
            out.append(out[-distance])
    if start is not None:
        assert literals >= 5
        assert len(out) - start >= 12
    return bytes(out)


RNG = random.Random(SEED)


@pytest.mark.parametrize("data", [
    b"", b"a", bytes(12), bytes(13), bytes(18), bytes(300), bytes(70_000), bytes(range(256)) * 3, RNG.randbytes(20),
    RNG.randbytes(270), RNG.randbytes(70_000), b"abcd" * 5 + RNG.randbytes(15) + b"abcd" * 6,
    bytes(RNG.choice(b"ab") for _ in range(5_000)),
    # A match at the farthest distance of the format, and one beyond.
    b"sterna!!" + RNG.randbytes(65_527) + b"sterna!!" + bytes(20),
    b"sterna!!" + RNG.randbytes(65_528) + b"sterna!!" + bytes(20),
], ids=lambda data: f"{len(data)}")
def test_what_is_compressed_comes_back(compress, data):
    assert decompress(compress(data)) == data


def test_what_repeats_becomes_small(compress):
    data = b"".join(bytes([value, 0, 0, 1]) for value in (3, 7, 9)) * 4_000
    assert len(compress(data)) < len(data) // 100
