import re

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
    made = events((3, 0, 30, 0), (2, 0, 20, 0), (0, 0, 10, 0), (1, 0, 10, 0), (4, 0, 900, 0))
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


TIME = Framing(timesteps=4)
EAR = (1, 1, 700)


def heard(times, columns=None):
    """Events of an ear with 700 channels at ``times``, of their type."""
    made = np.zeros(len(times), np.dtype([("x", np.int16), ("t", np.asarray(times).dtype)]))
    made["t"], made["x"] = times, np.arange(len(times)) if columns is None else columns
    return made


def slices(times, timesteps=4):
    """Slice of each time, from the frames: every event has a pixel of its own."""
    frames = frames_of(heard(times), EAR, Framing(timesteps=timesteps))
    return frames[:, 0, 0, :len(times)].argmax(0).tolist()


def expected(microseconds, timesteps=4):
    first, last = min(microseconds), max(microseconds)
    return [min((time - first) * timesteps // max(last - first, 1), timesteps - 1) for time in microseconds]


#: Microseconds with events at the very bounds of slices, which a rounded second may miss by one.
MICROSECONDS = [100_000, 149_999, 150_000, 200_001, 299_999, 300_000, 300_001, 499_999, 500_000, 700_000, 899_999,
                900_000]


@pytest.mark.parametrize("timesteps", [1, 3, 4, 8])
@pytest.mark.parametrize("times", [
    np.array(MICROSECONDS), np.array(MICROSECONDS, np.uint32), np.array(MICROSECONDS, ">i8"),
    np.array(MICROSECONDS, np.uint64) + np.uint64(2**64 - 10**6), np.array(MICROSECONDS) + np.iinfo(np.int64).min,
    np.array(MICROSECONDS) * 1000, np.array(MICROSECONDS) / 1e6, np.array(MICROSECONDS) * 1e-6,
    np.array(MICROSECONDS) / 1e3, np.array(MICROSECONDS, np.float64), np.array(MICROSECONDS, np.float32),
    (np.array(MICROSECONDS) / 1e6).astype(np.float32), 1.7e9 + np.array(MICROSECONDS) / 1e6,
    -1e3 + np.array(MICROSECONDS) / 1e6,
], ids=str)
def test_times_of_any_unit_and_type_give_the_same_slices(times, timesteps):
    assert slices(times, timesteps) == expected(MICROSECONDS, timesteps)


def test_seconds_in_half_precision_are_not_cast_to_integers():
    rng = np.random.default_rng(SEED)
    times = np.sort(rng.uniform(0, 0.9, 400)).astype(np.float16)
    columns = rng.integers(0, 700, 400)
    micro = np.rint(times.astype(np.float64) * 1e6).astype(np.int64)
    framing = Framing(timesteps=4, factor=5)
    seconds = frames_of(heard(times, columns), EAR, framing)
    assert np.array_equal(seconds, frames_of(heard(micro, columns), EAR, framing))
    assert seconds.sum((1, 2, 3)).min() > 30, "all slices have events"


@pytest.mark.parametrize("times", [
    np.array([0, 2**62, 2**63, 2**64 - 1], np.uint64), np.array([-2**63, -2**62, 0, 2**63 - 1]),
    np.array([0, 2**30, 2**31, 2**32 - 1], np.uint32), np.array([-128, -64, 0, 127], np.int8),
    np.array([-1e308, -0.5e308, 0, 1e308]), np.array([0.0, np.pi / 4, np.pi / 2, np.pi]),
])
def test_times_over_the_whole_range_do_not_overflow(times):
    assert slices(times) == [0, 1, 2, 3]


def test_slices_are_exact_where_a_product_would_overflow():
    last = 2**62 + 3
    times = [0, *(-(-index * last // 8) + offset for index in range(1, 8) for offset in (-1, 0)), last]
    assert slices(np.array(times), 8) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]


@pytest.mark.parametrize("slicing", list(Slicing))
@pytest.mark.parametrize(("times", "text"), [
    (np.array([2**32 - 90, 2**32 - 10, 20, 100], np.uint32), "t of event 2 {}, 20 after 4294967286: {}"),
    (np.array([2**64 - 90, 2**64 - 10, 20, 100], np.uint64), "t of event 2 {}, 20 after 18446744073709551606: {}"),
    (np.array([2**31 - 90, 2**31 - 10, -2**31 + 20], np.int32), "t of event 2 {}, -2147483628 after 2147483638: {}"),
    (np.array([30, 20, 10]), None),
    (np.array([900, 10]), "t of event 1 {}, 10 after 900: {}"),
    (np.array([4.2, 4.29, 0.01]), "t of event 2 {}, 1 after 429: {}"),
])
def test_a_counter_that_wrapped_is_named(times, text, slicing):
    framing = Framing(timesteps=4, slicing=slicing)
    if text is None:
        assert frames_of(heard(times), EAR, framing).sum() == len(times)
        return
    text = text.format("must not be so much earlier than that of the event before",
                       "sort the events, or continue a counter that wrapped")
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        frames_of(heard(times), EAR, framing)


def test_a_little_disorder_changes_nothing():
    assert slices(np.array([0, 120, 100, 260, 250, 400])) == [0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize(("times", "text"), [
    (np.array([0, np.nan, 1]), "t of an event must be finite, not nan of event 1"),
    (np.array([0, 1, np.inf], np.float16), "t of an event must be finite, not inf of event 2"),
    (np.array([0, 1], "m8[us]"), "t of an event must be an integer or a float of up to 64 bits, not timedelta64[us]"),
    (np.array([False, True]), "t of an event must be an integer or a float of up to 64 bits, not bool"),
    (np.array(["0", "1"]), "t of an event must be an integer or a float of up to 64 bits, not <U1"),
    (np.array([0, 1], np.longdouble), "t of an event must be an integer or a float of up to 64 bits, not float128"),
])
def test_other_times_are_named(times, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        frames_of(heard(times), EAR, TIME)


def of_types(**types):
    """One event at 0 with fields of other types."""
    made = np.zeros(2, np.dtype([(name, types.get(name, int)) for name in ("x", "y", "t", "p") if types.get(name, 1)]))
    return made


@pytest.mark.parametrize(("types", "text"), [
    ({"x": float}, "x of an event must be an integer, not float64"),
    ({"y": "U4"}, "y of an event must be an integer, not <U4"),
    ({"x": bool}, "x of an event must be an integer, not bool"),
    ({"p": np.float32}, "p of an event must be an integer, not float32"),
    ({"p": None}, "events must have a field p, not only x, y, t"),
    ({"t": None}, "events must have a field t, not only x, y, p"),
    ({"t": (int, 2)}, "t of events must be one number each, not of shape (2, 2)"),
])
def test_fields_of_other_types_are_named(types, text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        frames_of(of_types(**types), SENSOR, TIME)


def test_numbers_without_fields_are_named():
    with pytest.raises(ValueError, match=r"^events must have a field p, not only numbers$"):
        frames_of(np.zeros((3, 4), int), SENSOR, TIME)


def test_positions_of_unsigned_64_bits_and_polarities_of_bool_are_read():
    made = of_types(x=np.uint64, p=bool)
    made["x"], made["p"] = [3, 4], [True, False]
    assert ones(frames_of(made, SENSOR, Framing(timesteps=1))) == [(0, 0, 0, 4), (0, 1, 0, 3)]
    made["x"] = 2**64 - 1
    with pytest.raises(ValueError, match=r"^x of an event must be 0 to 7, not 18446744073709551615$"):
        frames_of(made, SENSOR, TIME)


def test_a_sensor_with_one_polarity_takes_one():
    made = np.array([(10, 0, 1), (699, 5, 1)], np.dtype([("x", int), ("t", int), ("p", int)]))
    assert frames_of(made, EAR, TIME).sum() == 2
    made["p"][0] = 0
    with pytest.raises(ValueError, match=r"^p of all events must be equal for a sensor with one, not 0 to 1$"):
        frames_of(made, EAR, TIME)
