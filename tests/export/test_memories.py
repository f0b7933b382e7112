import numpy as np
import pytest

from arch import ternary
from arch.network import OrPool, Readout, projection_of
from export.memories import memory_images
from reference.generate import random_network


def words(text):
    return [int(line, 16) for line in text.decode().splitlines() if not line.startswith(("//", "@"))]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("word_bytes", [1, 4, 7])
def test_memories_hold_weights_and_constants(seed, word_bytes):
    network = random_network(np.random.default_rng([4, seed]))
    images = memory_images(network, word_bytes=word_bytes)
    for index, layer in enumerate(network.layers):
        if isinstance(layer, OrPool):
            assert not any(name.startswith(f"layer{index}-") for name in images)
            continue
        flat = layer.weights.reshape(-1).tolist()
        packed = int.from_bytes(images[f"layer{index}-weights.bin"], "little")
        assert ternary.unpack(packed, len(flat)) == flat
        for ending in ("hex", "mem"):
            found = words(images[f"layer{index}-weights.{ending}"])
            assert sum(word << 8 * word_bytes * place for place, word in enumerate(found)) == packed
            assert len(found) == -(-len(flat) // (4 * word_bytes))
        if isinstance(layer, Readout):
            assert f"layer{index}-constants.bin" not in images
            continue
        expected = [int(value) for of in zip(layer.neurons.threshold, layer.neurons.bias, layer.neurons.initial,
                                             strict=True) for value in of]
        content = images[f"layer{index}-constants.bin"]
        assert [int.from_bytes(content[at:at + 6], "little", signed=True)
                for at in range(0, len(content), 6)] == expected
        for ending in ("hex", "mem"):
            found = words(images[f"layer{index}-constants.{ending}"])
            assert [word - (word >> 47 << 48) for word in found] == expected


def test_projections_have_memories_of_their_own():
    found = 0
    for seed in range(6):
        network = random_network(np.random.default_rng([6, seed]), layers=4, shortcuts=True, projections=True)
        images = memory_images(network, word_bytes=4)
        for index, projection in enumerate(map(projection_of, network.layers)):
            names = {name for name in images if name.startswith(f"layer{index}-projection")}
            if projection is None:
                assert not names
                continue
            found += 1
            flat = projection.weights.reshape(-1).tolist()
            content = images[f"layer{index}-projection.bin"]
            assert ternary.unpack(int.from_bytes(content, "little"), len(flat)) == flat
            shape = " x ".join(map(str, projection.weights.shape))
            lines = images[f"layer{index}-projection.mem"].decode().splitlines()
            assert lines[0].removeprefix(f"// layer{index}-projection: ") == (
                f"convolution, weights {shape}, {len(lines) - 2} words of 32 bits")
            assert f"layer{index}-constants.bin" in images
            assert len(names) == 3
    assert found > 3


def test_mem_begins_with_a_comment_and_an_address():
    network = random_network(np.random.default_rng(1))
    shape = " x ".join(map(str, network.layers[0].weights.shape))
    head, address, *rest = memory_images(network)["layer0-weights.mem"].decode().splitlines()
    assert head == (f"// layer0-weights: {network.layers[0].kind}, weights {shape}, {len(rest)} words of 32 bits")
    assert address == "@0"


def test_word_width_is_checked():
    for wrong in (0, 129):
        with pytest.raises(ValueError, match=f"^word width must be 1 to 128 bytes, not {wrong}$"):
            memory_images(random_network(np.random.default_rng(1)), word_bytes=wrong)
