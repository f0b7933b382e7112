"""What can go wrong between a host and a device, one class for each kind that a program may want to tell apart."""

from arch.link import Command, ErrorCode
from support.errors import InputError

__all__ = ["BusyError", "ClosedError", "DeviceError", "NoAnswerError", "PortError", "RefusedError"]

#: What a device refuses, and what to do.
_REFUSALS = {
    ErrorCode.WRONG_MODEL: "the model in its flash was made for another circuit, or by another release: export it "
                           "again for this bitstream",
    ErrorCode.DAMAGED: "the model in its flash is damaged: write the image to the flash again",
    ErrorCode.FLASH: "its flash does not answer: switch the board off and on, and see that the bitstream is for this "
                     "board",
}


class DeviceError(InputError):
    """The device does not answer, or not as it should: the base of all errors of this package."""


class PortError(DeviceError):
    """The port cannot be opened, or went away."""


class ClosedError(PortError):
    """The port was closed by this program."""

    def __init__(self) -> None:
        super().__init__("accelerator must be open, and this program has closed it: open it again")


class NoAnswerError(DeviceError):
    """A request has no valid answer, however often it was repeated."""

    def __init__(self, command: Command, attempts: int, code: int | None = None) -> None:
        super().__init__(f"no valid answer to {command.name} in {attempts} attempt{'s'[:attempts != 1]}: see that the "
                         "port and its baud are those of the board, or give a longer --timeout")
        #: What the device answered last, of :class:`arch.link.ErrorCode`; None if nothing.
        self.code = code


class BusyError(DeviceError):
    """The device computes the images of somebody else."""

    def __init__(self, command: Command, attempts: int) -> None:
        super().__init__(f"device was busy in {attempts} attempt{'s'[:attempts != 1]} of {command.name}: wait until it "
                         "has computed the images of other programs")


class RefusedError(DeviceError):
    """The device cannot do what was asked, and would not if it was asked again."""

    def __init__(self, command: Command, payload: bytes, code: int) -> None:
        super().__init__(f"device refuses {command.name}: {_reason(command, payload, code)}")
        #: Of :class:`arch.link.ErrorCode`, or a number that is none.
        self.code = code


def _reason(command: Command, payload: bytes, code: int) -> str:
    """Say why a request was refused, and what to do."""
    selecting = command is Command.SELECT
    if code == ErrorCode.NO_MODEL:
        return (f"its flash has no model {payload[0]}: select another, or write this one to the flash"
                if selecting else "no model is selected: python -m firmware.host select N --port PORT")
    if code == ErrorCode.UNKNOWN_COMMAND and selecting:
        return "its network is part of the bitstream, there is none to select"
    if code not in tuple(ErrorCode):
        return f"error {code}"
    return _REFUSALS.get(ErrorCode(code), ErrorCode(code).name.replace("_", " ").lower())
