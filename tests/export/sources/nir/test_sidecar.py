"""The side-car: every key there and back, and every error."""

import json
from fractions import Fraction

import pytest

from arch.network import Encoding, Reset
from export.sources.chain import SourceError
from export.sources.nir import sidecar
from export.sources.nir.sidecar import Facts
from export.sources.rules import Comparison

FULL = Facts(package="sinabs", comparison=Comparison.ABOVE, reset=Reset.ZERO, several=True, dt=Fraction(1, 3),
             timesteps=8, encoding=Encoding.PIXELS, scale=Fraction(1, 255), zero_point=128, shape=(3, 32, 32),
             currents=True, initial={"if0": (Fraction(-3, 8), Fraction(0))})


def test_every_key_comes_back():
    assert sidecar.parse({"sterna": sidecar.dumps(FULL)}) == FULL
    assert json.loads(sidecar.dumps(FULL)) == {
        "version": 1, "from": "sinabs", "compare": "gt", "reset": "zero", "spikes": "several", "dt": "1/3",
        "timesteps": 8, "encoding": "pixels", "scale": "1/255", "zero_point": 128, "input": [3, 32, 32],
        "readout": "currents", "initial": {"if0": ["-3/8", "0"]}}
    few = Facts(several=False, currents=False)
    assert sidecar.parse({"sterna": sidecar.dumps(few)}) == few
    assert sidecar.parse({}) == Facts()


def test_options_come_before_the_file():
    stated = Facts(reset=Reset.SUBTRACT, several=False)
    assert stated.over(FULL).reset is Reset.SUBTRACT
    assert stated.over(FULL).several is False
    assert stated.over(FULL).timesteps == 8


@pytest.mark.parametrize(("text", "line"), [
    ("{", "must be JSON: "),
    ("[]", "must be an object of version 1, not None: take the Sterna that wrote it"),
    ('{"version": 2}', "must be an object of version 1, not 2: take the Sterna that wrote it"),
    ('{"version": 1, "colour": 3}', ("must have the keys from, compare, reset, spikes, dt, timesteps, encoding, scale, "
                                    "zero_point, input, readout, initial, not colour")),
    ('{"version": 1, "from": "lava"}', (": from must be snntorch or spikingjelly or norse or sinabs or rockpool, not "
                                       "'lava'")),
    ('{"version": 1, "compare": "lt"}', ": compare must be ge or gt, not 'lt'"),
    ('{"version": 1, "reset": []}', ": reset must be subtract or zero, not []"),
    ('{"version": 1, "spikes": "two"}', ": spikes must be one or several, not 'two'"),
    ('{"version": 1, "dt": 0.1}', ": dt must be a text, not 0.1"),
    ('{"version": 1, "dt": "-1"}', ": dt must be a positive number such as 1e-4, 0.5 or 1/255, not '-1'"),
    ('{"version": 1, "timesteps": 65}', ": timesteps must be an integer from 1 to 64, not 65"),
    ('{"version": 1, "timesteps": true}', ": timesteps must be an integer from 1 to 64, not True"),
    ('{"version": 1, "encoding": "rate"}', ": encoding must be pixels or events, not 'rate'"),
    ('{"version": 1, "zero_point": -1}', ": zero_point must be an integer from 0 to 128, not -1"),
    ('{"version": 1, "input": 5}', ": input must be CHANNELSxHEIGHTxWIDTH such as 1x28x28, or one number, not ''"),
    ('{"version": 1, "readout": "max"}', ": readout must be spikes or currents, not 'max'"),
])
def test_errors(text, line):
    with pytest.raises(SourceError) as error:
        sidecar.parse({"sterna": text})
    assert str(error.value).startswith(f"metadata sterna {line}" if not line.startswith(":") else f"metadata "
                                                                                                  f"sterna{line}")


@pytest.mark.parametrize(("text", "value"), [("1e-4", Fraction(1, 10000)), ("0.5", Fraction(1, 2)),
                                             ("1/255", Fraction(1, 255)), ("3", 3)])
def test_numbers_are_exact(text, value):
    assert sidecar.fraction("--dt", text) == value


@pytest.mark.parametrize("text", ["0", "-1", "1/0", "x", "1e-999999", "1e99", "1e999999999", "1E+9_999_999_9",
                                  "1e-99999999", "nan", "inf", "1" * 50, ""])
def test_numbers_that_are_none(text):
    with pytest.raises(SourceError, match=r"^--dt must be a positive number such as 1e-4, 0\.5 or 1/255, not "):
        sidecar.fraction("--dt", text)


@pytest.mark.parametrize(("text", "sizes"), [("784", (1, 1, 784)), ("3x32x16", (3, 32, 16))])
def test_shapes(text, sizes):
    assert sidecar.shape("--input", text) == sizes


@pytest.mark.parametrize("text", ["", "0", "1x2", "1x2x3x4", "ax1x1", "-1x2x3", "999999", "1x1x", "²"])
def test_shapes_that_are_none(text):
    with pytest.raises(SourceError, match=r"^--input must be CHANNELSxHEIGHTxWIDTH such as 1x28x28, or one number, not "
                                          ""):
        sidecar.shape("--input", text)
