import numpy as np
import pytest

from arch.limits import NetworkError
from arch.projection import Projection


def ones(*shape):
    return np.ones(shape, dtype=np.int8)


def test_an_identity_passes_each_channel_to_itself():
    shortcut = Projection.identity(2, 3, stride=2)
    assert (shortcut.source, shortcut.stride) == (2, 2)
    assert shortcut.weights.shape == (3, 3, 1, 1)
    assert shortcut.weights[:, :, 0, 0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    assert shortcut.weights.dtype == np.int8


def test_signs_and_silent_channels_leave_an_identity_diagonal():
    matrix = np.diag(np.array([1, -1, 0], dtype=np.int8))
    assert Projection(source=0, weights=matrix[..., None, None]).diagonal
    assert Projection.identity(0, 1).diagonal
    assert not Projection(source=0, weights=ones(2, 2, 1, 1)).diagonal
    # More channels out than in, and fewer.
    assert not Projection(source=0, weights=np.eye(3, 2, dtype=np.int8)[..., None, None]).diagonal
    assert not Projection(source=0, weights=np.eye(2, 3, dtype=np.int8)[..., None, None]).diagonal


def test_an_identity_has_no_weights_of_its_own():
    assert Projection.identity(0, 4).weight_count == 0
    assert Projection(source=0, weights=ones(4, 3, 1, 1)).weight_count == 12


def test_a_stride_takes_positions_from_the_first_on():
    projection = Projection(source=0, weights=ones(5, 3, 1, 1), stride=2)
    assert projection.output_shape((3, 7, 4)) == (5, 4, 2)


def test_weights_are_frozen_copies():
    weights = ones(2, 3, 1, 1)
    projection = Projection(source=0, weights=weights)
    weights[0] = 0
    assert projection.weights.all()
    with pytest.raises(ValueError, match="read-only"):
        projection.weights[0] = 0


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Projection(source=-1, weights=ones(2, 2, 1, 1)),
     "projection source must be the index of an earlier layer, not -1"),
    (lambda: Projection(source="conv1", weights=ones(2, 2, 1, 1)),
     "projection source must be the index of an earlier layer, not 'conv1'"),
    (lambda: Projection(source=True, weights=ones(2, 2, 1, 1)),
     "projection source must be the index of an earlier layer, not True"),
    (lambda: Projection(source=0, weights=ones(2, 2, 1, 1).astype(float)),
     "projection weights must be an array of int8, not float64"),
    (lambda: Projection(source=0, weights=ones(2, 2)),
     "projection weights must have 4 dimensions and no empty one, not shape (2, 2)"),
    (lambda: Projection(source=0, weights=ones(2, 2, 3, 3)), "projection weights must be 1 x 1, not 3 x 3"),
    (lambda: Projection(source=0, weights=ones(2, 2, 1, 2)), "projection weights must be 1 x 1, not 1 x 2"),
    (lambda: Projection(source=0, weights=ones(1, 65537, 1, 1)), "channels must be at most 65536, not 65537"),
    (lambda: Projection(source=0, weights=2 * ones(1, 1, 1, 1)),
     "projection weights must be -1, 0 or +1, not 2 at (0, 0, 0, 0)"),
    (lambda: Projection(source=0, weights=ones(1, 1, 1, 1), stride=0),
     "projection stride must be an integer from 1 to 7, not 0"),
    (lambda: Projection(source=0, weights=ones(1, 1, 1, 1), stride=8),
     "projection stride must be an integer from 1 to 7, not 8"),
    (lambda: Projection.identity(0, 0), "channels of an identity must be an integer from 1 to 65536, not 0"),
    (lambda: Projection.identity(0, 2.0), "channels of an identity must be an integer from 1 to 65536, not 2.0"),
    (lambda: Projection.identity(0, 2, stride=True), "projection stride must be an integer from 1 to 7, not True"),
])
def test_errors_are_one_line(make, message):
    with pytest.raises(NetworkError) as caught:
        make()
    assert str(caught.value) == message
