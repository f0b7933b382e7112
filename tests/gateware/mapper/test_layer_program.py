import numpy as np
import pytest

from tests.random_layers import KINDS, STREAMED, random_layer
from tests.twins.layers import layer_words, walk


def meaningful(word):
    """A word without what means nothing: the address of padding, windows and groups of sums that go on."""
    ending = word.ending
    if ending is not None and not ending["closes"]:
        ending = {name: flag for name, flag in ending.items()
                  if name not in ("window_first", "window_last", "group_last")}
    return word._replace(ending=ending, address=None if word.zero else word.address)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STREAMED)
def test_programs_lead_to_the_words_of_their_layers(name, kind):
    config = STREAMED[name]
    rng = np.random.default_rng([50, KINDS.index(kind)])
    for _ in range(20):
        layer = random_layer(config, rng, kind)
        row, buffer = int(rng.integers(config.weight_rows)), int(rng.integers(2))
        walked = list(walk(config, layer.program(config), buffer, row))
        expected = list(layer_words(config, layer.loops, source_size=layer.source_size, mode=layer.mode,
                                    segment=layer.segment, row=row, half=buffer))
        assert [meaningful(word) for word, _ in walked] == [meaningful(word) for word in expected]
        assert (walked[-1][1] - row - layer.loops.groups * layer.loops.group_weight_rows) % config.weight_rows == 0
