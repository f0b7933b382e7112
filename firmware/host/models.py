"""The models of a board: those of its flash, or the one network of its bitstream."""

import dataclasses
from collections.abc import Iterator

from arch.flash.image import MODELS
from arch.link import ErrorCode, Info
from firmware.host.accelerator import Accelerator
from firmware.host.errors import RefusedError

__all__ = ["FAULTS", "Model", "models_of"]

#: Why a model of the flash cannot be selected.
FAULTS = {ErrorCode.WRONG_MODEL: "made for another circuit", ErrorCode.DAMAGED: "damaged"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A network that a board has."""

    #: Its number in the directory of the flash; None for the network of a bitstream.
    number: int | None
    #: What it is; None if it cannot be selected.
    info: Info | None = None
    #: Why it cannot be selected, a key of :data:`FAULTS`; None if it can.
    fault: ErrorCode | None = None
    #: Whether the board runs it.
    selected: bool = False


def models_of(chip: Accelerator) -> Iterator[Model]:
    """Select each model to see what it is, and at the end the one that was selected before.

    Raises
    ------
    :exc:`firmware.host.errors.DeviceError`
        If the device does not answer.
    :exc:`arch.link.LinkError`
        If an answer is malformed.
    """
    before: bytes | None = None
    try:
        before = chip.info.digest
    except RefusedError as error:
        if error.code not in (ErrorCode.NO_MODEL, *FAULTS):
            raise
    chosen = None
    try:
        for number in range(MODELS):
            try:
                info = chip.select(number)
            except RefusedError as error:
                if error.code == ErrorCode.UNKNOWN_COMMAND:
                    # The network is part of the bitstream.
                    yield Model(number=None, info=chip.info, selected=True)
                    return
                if error.code in FAULTS:
                    yield Model(number=number, fault=ErrorCode(error.code))
                elif error.code != ErrorCode.NO_MODEL:
                    raise
                continue
            selected = info.digest == before and chosen is None
            chosen = number if selected else chosen
            yield Model(number=number, info=info, selected=selected)
    finally:
        if chosen is not None:
            chip.select(chosen)
