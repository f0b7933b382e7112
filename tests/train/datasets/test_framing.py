import numpy as np
import pytest

from train.datasets import Framing, Slicing, frames_of

SEED = 6
EVENT = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
SENSOR = (2, 6, 8)


def events(*rows):
    """Return events of (x, y, t, p)."""
    return np.array(list(rows), EVENT)


def random_events(count, times):
    generator = np.random.default_rng(SEED)
    made = np.empty(count, EVENT)
    for name, size in zip("pyx", SENSOR, strict=True):
        made[name] = generator.integers(0, size, count)
    made["t"] = np.sort(times(generator, count))
    return made


def ones(frames):
    return [tuple(map(int, position)) for position in np.argwhere(frames)]


def test_slices_of_time_are_equal_and_lose_no_event():
    made = events((0, 0, 100, 0), (1, 0, 149, 0), (2, 0, 150, 0), (3, 5, 199, 1), (7, 5, 200, 1))
    frames = frames_of(made, SENSOR, Framing(timesteps=2))
    assert frames.shape == (2, 2, 6, 8)
    assert frames.dtype == np.uint8
    assert ones(frames) == [(0, 0, 0, 0), (0, 0, 0, 1), (1, 0, 0, 2), (1, 1, 5, 3), (1, 1, 5, 7)]


def test_slices_of_count_have_as_many_events_in_order_of_time():
    # Later events first, and two at the same time, which stay in order.
    made = events((4, 0, 900, 0), (3, 0, 30, 0), (2, 0, 20, 0), (0, 0, 10, 0), (1, 0, 10, 0))
    frames = frames_of(made, SENSOR, Framing(timesteps=2, slicing=Slicing.COUNT))
    assert ones(frames) == [(0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 2), (1, 0, 0, 3), (1, 0, 0, 4)]


def test_many_events_in_a_pixel_give_one():
    made = events(*[(1, 2, time, 1) for time in range(50)])
    assert ones(frames_of(made, SENSOR, Framing(timesteps=1))) == [(0, 1, 2, 1)]


@pytest.mark.parametrize("slicing", list(Slicing))
def test_events_at_one_moment_and_fewer_events_than_slices_are_no_error(slicing):
    framing = Framing(timesteps=5, slicing=slicing)
    assert ones(frames_of(events((1, 2, 7, 1)), SENSOR, framing)) == [(0, 1, 2, 1)]
    assert frames_of(events((1, 2, 7, 1), (3, 2, 7, 1)), SENSOR, framing).sum() == 2


def test_downsampling_joins_pixels():
    made = events((0, 0, 0, 0), (1, 1, 1, 0), (6, 5, 2, 1))
    framing = Framing(timesteps=1, factor=2)
    assert framing.shape(SENSOR) == (2, 3, 4)
    assert ones(frames_of(made, SENSOR, framing)) == [(0, 0, 0, 0), (0, 1, 2, 3)]


def test_one_row_is_not_downsampled_and_needs_no_y():
    made = np.array([(10, 0, 1), (699, 5, 1)], np.dtype([("x", int), ("t", int), ("p", int)]))
    framing = Framing(timesteps=2, factor=5)
    assert framing.shape((1, 1, 700)) == (1, 1, 140)
    assert ones(frames_of(made, (1, 1, 700), framing)) == [(0, 0, 0, 2), (1, 0, 0, 139)]


@pytest.mark.parametrize("slicing", list(Slicing))
def test_frames_are_those_of_tonic_where_it_loses_no_event(slicing):
    transforms = pytest.importorskip("tonic.transforms")
    # 400 events and a duration of 4000 can be cut in 8. tonic still leaves out what is at the last moment.
    made = random_events(400, lambda generator, count: [0, *generator.integers(0, 4000, count - 2), 4000])
    key = {Slicing.TIME: "n_time_bins", Slicing.COUNT: "n_event_bins"}[slicing]
    counted = transforms.ToFrame(sensor_size=SENSOR[::-1], **{key: 8})(made.copy())
    expected = counted > 0
    if slicing is Slicing.TIME:
        expected[-1, made["p"][-1], made["y"][-1], made["x"][-1]] = True
    assert np.array_equal(frames_of(made, SENSOR, Framing(timesteps=8, slicing=slicing)), expected)


@pytest.mark.parametrize(("row", "text"), [
    ((8, 0, 0, 0), "x of an event must be 0 to 7, not 8"),
    ((0, 6, 0, 0), "y of an event must be 0 to 5, not 6"),
    ((-1, 0, 0, 0), "x of an event must be 0 to 7, not -1"),
    ((0, 0, 0, 2), "p of an event must be 0 to 1, not 2"),
])
def test_events_outside_of_the_sensor_are_named(row, text):
    with pytest.raises(ValueError, match=f"^{text}$"):
        frames_of(events((0, 0, 0, 0), row), SENSOR, Framing(timesteps=1))


def test_recording_without_events_is_refused():
    with pytest.raises(ValueError, match=r"^recording must have events$"):
        frames_of(events(), SENSOR, Framing(timesteps=1))


@pytest.mark.parametrize(("values", "text"), [
    ({"timesteps": 0}, "framing timesteps must be an integer from 1, not 0"),
    ({"timesteps": 4.0}, r"framing timesteps must be an integer from 1, not 4\.0"),
    ({"timesteps": 4, "factor": True}, "framing factor must be an integer from 1, not True"),
    ({"timesteps": 4, "slicing": "time"}, "framing slicing must be a Slicing, not 'time'"),
])
def test_wrong_framings_are_named(values, text):
    with pytest.raises(ValueError, match=f"^{text}$"):
        Framing(**values)


def test_factor_must_divide_the_sensor():
    with pytest.raises(ValueError, match=r"^framing factor must divide 6 x 8 pixels, not 4$"):
        Framing(timesteps=1, factor=4).shape(SENSOR)
