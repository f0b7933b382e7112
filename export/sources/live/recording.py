"""Runs a module of PyTorch on an input, and records what its layers see and give, in order.

PyTorch is not imported: tensors are made of the one that the caller gives, and read as arrays. The module is as it was
afterwards; membranes and other states that it held come back.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from export.sources.chain import SourceError
from support.errors import first_line, printable

__all__ = ["Call", "Leaf", "Recording", "array_of", "class_of", "leaves_of", "record"]

#: Classes that hold layers and compute nothing that a recording does not show.
_HOLDERS = ("Sequential", "ModuleList", "ModuleDict")


def array_of(tensor: Any) -> npt.NDArray[np.float64]:
    """Return a copy of the numbers of ``tensor``; every float of PyTorch is one of float64."""
    return np.array(tensor.detach().cpu().double().numpy())


def class_of(module: Any) -> tuple[str, str]:
    """Return the package and the name of the class of ``module``, without a parametrisation of its weights."""
    kind = type(module)
    if "parametrizations" in module._modules:
        kind = kind.__mro__[1]
    return kind.__module__.partition(".")[0], kind.__qualname__


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Leaf:
    """A layer of a module: what is not taken apart."""

    #: Its name in the module, as of ``named_modules``.
    name: str
    module: Any
    #: Package and name of its class.
    kind: tuple[str, str]


@dataclasses.dataclass(kw_only=True, slots=True, eq=False)
class Call:
    """One call of a layer, with tensors, their places in the graph of gradients, and the numbers they had."""

    leaf: Leaf
    inputs: tuple[Any, ...]
    #: ``grad_fn`` and ``output_nr`` of the inputs, before the call.
    origins: tuple[tuple[Any, int], ...]
    seen: npt.NDArray[np.float64]
    #: The numbers of the second input, a membrane; None without one.
    second: npt.NDArray[np.float64] | None
    outputs: tuple[Any, ...] = ()
    #: The same of the outputs, after the call.
    ends: tuple[tuple[Any, int], ...] = ()
    given: npt.NDArray[np.float64] = dataclasses.field(default_factory=lambda: np.zeros(0))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recording:
    """What happened in one call of a module."""

    #: What it was called with, a leaf of the graph of gradients.
    input: Any
    calls: list[Call]
    #: The numbers of all tensors that it returned, and the sums of those that were in one list, as over timesteps.
    results: list[npt.NDArray[np.float64]]


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "grad_fn") and hasattr(value, "detach")


def _numbers_in(result: Any) -> list[npt.NDArray[np.float64]]:
    """Return the numbers of the tensors that a forward gives: one, or those in tuples, lists and dictionaries of them.

    Tensors of one shape in one tuple or list may be those of the timesteps: their sum comes behind them.
    """
    if _is_tensor(result):
        return [array_of(result)]
    parts = result.values() if isinstance(result, Mapping) else result if isinstance(result, tuple | list) else ()
    found = [numbers for part in parts for numbers in _numbers_in(part)]
    alike = len(found) > 1 and all(map(_is_tensor, parts)) and len({numbers.shape for numbers in found}) == 1
    return [*found, np.sum(found, axis=0)] if alike else found


def leaves_of(module: Any, packages: tuple[str, ...]) -> list[Leaf]:
    """Return the layers of ``module``: what has no modules of its own, and every class of one of ``packages``.

    Containers of ``packages``, which derive from ``Sequential``, are no layers.
    """
    found: list[Leaf] = []

    def descend(name: str, part: Any) -> None:
        kind = class_of(part)
        held = {key: child for key, child in part._modules.items()
                if child is not None and key != "parametrizations"}
        of_package = kind[0] in packages and not any(base.__name__ in _HOLDERS for base in type(part).__mro__)
        if not held or of_package:
            found.append(Leaf(name=name or kind[1], module=part, kind=kind))
            return
        for key, child in held.items():
            descend(f"{name}.{key}" if name else key, child)

    descend("", module)
    unique: dict[int, Leaf] = {}
    for leaf in found:
        unique.setdefault(id(leaf.module), leaf)
    for leaf in unique.values():
        _check_plain(leaf)
    return list(unique.values())


def _check_plain(leaf: Leaf) -> None:
    """Refuse a layer of which the class does not tell what it computes."""
    module = leaf.module
    if module._forward_hooks or module._forward_pre_hooks:
        raise SourceError(f"node {printable(leaf.name)}: it must have no hooks, which may change what it computes: "
                          f"remove them")
    if "forward" in module.__dict__:
        raise SourceError(f"node {printable(leaf.name)}: its forward must be that of its class {leaf.kind[1]}, not "
                          f"another: take it out of the instance")


@contextlib.contextmanager
def _states_kept(module: Any) -> Iterator[None]:
    """Give all modules back the attributes, parameters, buffers and memories that they had, with their numbers."""
    held = [values for part in module.modules() for values in (
        part.__dict__, part._parameters, part._buffers, part.__dict__.get("_memories", {}))]
    kept = [(values, dict(values)) for values in held]
    tensors = {id(value): (value, value.detach().clone()) for values in held for value in values.values()
               if _is_tensor(value)}
    try:
        yield
    finally:
        for values, before in kept:
            values.clear()
            values.update(before)
        for tensor, numbers in tensors.values():
            # A tensor that cannot be written, as one of an inference or an expanded one, has not been changed.
            if not tensor.equal(numbers):
                tensor.data.copy_(numbers)


def _places(tensors: tuple[Any, ...]) -> tuple[tuple[Any, int], ...]:
    return tuple((tensor.grad_fn, tensor.output_nr) for tensor in tensors)


@contextlib.contextmanager
def _hooked(leaves: list[Leaf], calls: list[Call]) -> Iterator[None]:
    """Record all calls of ``leaves`` in ``calls``."""
    def before(leaf: Leaf) -> Callable[..., None]:
        def hook(_module: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            inputs = tuple(value for value in (*arguments, *named.values()) if _is_tensor(value))
            if not inputs:
                raise SourceError(f"node {printable(leaf.name)}: it must see a tensor")
            calls.append(Call(leaf=leaf, inputs=inputs, origins=_places(inputs), seen=array_of(inputs[0]),
                              second=array_of(inputs[1]) if len(inputs) > 1 else None))
        return hook

    def after(_module: Any, _arguments: Any, _named: Any, output: Any) -> None:
        call = calls[-1]
        outputs = output if isinstance(output, tuple) else (output,)
        if not all(map(_is_tensor, outputs)):
            raise SourceError(f"node {printable(call.leaf.name)}: it must give tensors")
        call.outputs, call.ends, call.given = outputs, _places(outputs), array_of(outputs[0])

    handles = []
    try:
        for leaf in leaves:
            handles += [leaf.module.register_forward_pre_hook(before(leaf), with_kwargs=True),
                        leaf.module.register_forward_hook(after, with_kwargs=True)]
        yield
    finally:
        for handle in handles:
            handle.remove()


def record(module: Any, forward: Callable[[Any], Any], leaves: list[Leaf], inputs: list[npt.NDArray[Any]],
           example: Any, reset: Callable[[Any], None]) -> list[Recording]:
    """Call ``forward`` with each of ``inputs``, one after the other, after one ``reset`` of each layer.

    Raises
    ------
    :exc:`SourceError`
        If a call fails, or no gradients are recorded.
    """
    if not (example.new_zeros(1).requires_grad_() * 1).requires_grad:
        raise SourceError("the path through the layers is read from gradients: do not call this within torch.no_grad "
                          "or torch.inference_mode")
    recordings = []
    with _states_kept(module), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for leaf in leaves:
            reset(leaf.module)
        for values in inputs:
            tensor = example.new_tensor(values).requires_grad_()
            calls: list[Call] = []
            with _hooked(leaves, calls):
                try:
                    result = forward(tensor)
                except SourceError:
                    raise
                except Exception as error:
                    at = f"node {printable(calls[-1].leaf.name)}: " if calls and not calls[-1].outputs else ""
                    raise SourceError(f"{at}the module must run on an input like example, of {tuple(example.shape)}, "
                                      f"but says: {printable(first_line(error))}") from error
            recordings.append(Recording(input=tensor, calls=calls, results=_numbers_in(result)))
    return recordings
