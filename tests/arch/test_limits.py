import numpy as np
import pytest

from arch.limits import NetworkError, check_map, check_order, convolved_shape, freeze, pooled_shape
from tests.arch.test_network import ones


def test_shapes_of_maps_are_those_of_whole_windows():
    weights = ones(4, 2, 3, 3)
    assert convolved_shape(weights, (2, 6, 5), 1, 0) == (4, 4, 3)
    assert convolved_shape(weights, (2, 6, 5), 2, 1) == (4, 3, 3)
    assert convolved_shape(weights, (2, 1, 1), 1, 1) == (4, 1, 1)
    assert pooled_shape((2, 7, 5), 2) == (2, 3, 2)


def test_a_frozen_array_is_a_copy_that_cannot_be_written():
    array = np.arange(3, dtype=np.int8)
    frozen = freeze("codes", array, np.int8, 1)
    array[0] = 9
    assert frozen.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"^assignment destination is read-only$"):
        frozen[0] = 1


@pytest.mark.parametrize(("check", "message"), [
    (lambda: check_map(65, 1, 1), "input channels must be an integer from 1 to 64, not 65"),
    (lambda: check_map(1, 1, 1025), "input width must be an integer from 1 to 1024, not 1025"),
    (lambda: freeze("codes", ones(2), np.int8, 2), "codes must have 2 dimensions and no empty one, not shape (2,)"),
    (lambda: convolved_shape(ones(4, 2, 3, 3), (1, 3, 3), 1, 0), "weights must have 1 input channels, not 2"),
    (lambda: convolved_shape(ones(4, 2, 5, 5), (2, 2, 9), 1, 1), "kernel 5 must fit in the padded map of 4 x 11"),
    (lambda: pooled_shape((1, 2, 3), 3), "pool size 3 must fit in the map of 2 x 3"),
    (lambda: check_order(0, (1.5, 2), int | float, float),
     "layer 0 must not be a readout: a network has one, at its end"),
    (lambda: check_order(1, (1, 2), int | float, float), "layer 1 must be a readout: a network has one, at its end"),
    (lambda: check_order(0, ("1", 1.5), int | float, float), "layer 0 must be a layer, not str"),
])
def test_shared_checks_say_what_is_wrong(check, message):
    with pytest.raises(NetworkError) as caught:
        check()
    assert str(caught.value) == message
