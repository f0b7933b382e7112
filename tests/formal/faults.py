"""Faults to seed into a block: one place of its source replaced."""

import dataclasses
import inspect
import sys
import types
from typing import Any

__all__ = ["Fault"]


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """A place in the module of a block, and what stands there instead."""

    #: Text that occurs once in the module.
    before: str
    #: What replaces it.
    after: str

    def seeded(self, block: Any) -> Any:
        """Return the class or function ``block`` as it is with the fault; the real one is left alone."""
        real = sys.modules[block.__module__]
        source = inspect.getsource(real)
        assert source.count(self.before) == 1, f"{self.before!r} must occur once in {block.__module__}"
        module = types.ModuleType(block.__module__)
        module.__file__ = real.__file__
        exec(compile(source.replace(self.before, self.after), real.__file__ or "", "exec"), vars(module))
        return getattr(module, block.__name__)
