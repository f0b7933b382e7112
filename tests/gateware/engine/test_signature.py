import dataclasses
import re

import pytest

from arch.flash.errors import ImageError
from gateware.engine.configuration import EngineConfig
from gateware.engine.signature import circuit_of

OVERLAY = EngineConfig(streamed=True, accumulator_width=8, leak=False, layers=8, blocks=8, max_run=127, max_side=63,
                       max_row_words=63)


def test_a_circuit_is_named_by_its_parameters():
    circuit = circuit_of(OVERLAY)
    assert circuit.to_bytes()[:14].hex(" ") == "53 54 46 4d 01 08 10 04 14 04 0f 02 08 0e"
    assert circuit_of(dataclasses.replace(OVERLAY)) == circuit


@pytest.mark.parametrize("change", [
    {"lanes": 16}, {"width": 8}, {"timesteps": 8}, {"membrane_width": 21}, {"fraction": 3}, {"weight_rows": 128},
    {"leak": True}, {"hard_reset": False}, {"blocks": 4}, {"spike_words": 8192},
    # What only the fingerprint tells.
    {"pixels": False}, {"partial_width": 15}, {"channel_groups": 16}, {"layers": 4}, {"max_run": 63},
    {"max_side": 31}, {"max_row_words": 31}, {"classes": 16}, {"max_groups": 256}, {"accumulator_width": 9},
], ids=str)
def test_every_parameter_makes_another_circuit(change):
    with pytest.raises(ImageError, match=r" must be .*, not .*: make the image for this circuit$"):
        circuit_of(OVERLAY).check_same(circuit_of(dataclasses.replace(OVERLAY, **change)))


def test_no_parameter_is_left_out():
    """The list above has every field but those that a streamed circuit cannot have otherwise."""
    tested = {name for mark in test_every_parameter_makes_another_circuit.pytestmark for change in mark.args[1]
              for name in change}
    assert {field.name for field in dataclasses.fields(EngineConfig)} - tested == {"streamed"}


@pytest.mark.parametrize(("change", "message"), [
    ({"membrane_width": 24}, "membrane_width of a circuit must be 1 to 21, not 24"),
    ({"weight_rows": 250}, "ring_rows of a circuit must be a multiple of 16, 16 to 4096, not 250"),
])
def test_a_circuit_that_the_format_has_no_room_for_is_refused(change, message):
    """A circuit that is not streamed may be one."""
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        circuit_of(EngineConfig(**change))
