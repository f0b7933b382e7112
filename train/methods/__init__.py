"""Methods of the papers, one module each, behind the interface of :mod:`train.methods.method`."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from arch.strict_json import short
from train.methods.cbp import ConstrainedBackpropagation
from train.methods.conversion import Conversion
from train.methods.conversion_aware import ConversionAware
from train.methods.distillation import Distillation
from train.methods.dropout import Dropout
from train.methods.fine_tuning import FineTuning
from train.methods.folded import FoldedTime
from train.methods.indirect import Indirect
from train.methods.method import Method, MethodError
from train.methods.steps import StepDecay
from train.methods.surrogate import Surrogate
from train.methods.tdbn import ThresholdNorm
from train.methods.temporal import TemporalLoss
from train.methods.uncertainty import Uncertainty

__all__ = ["METHODS", "make_methods"]

#: Methods that a recipe can name, by kind.
METHODS: dict[str, type[Method]] = {method.kind: method for method in (
    ConstrainedBackpropagation, Conversion, ConversionAware, Distillation, Dropout, FineTuning, FoldedTime, Indirect,
    StepDecay, Surrogate, TemporalLoss, ThresholdNorm, Uncertainty)}


def make_methods(descriptions: Iterable[Mapping[str, Any]]) -> list[Method]:
    """Return the methods of a recipe, in order.

    Raises
    ------
    :exc:`MethodError`
        If a kind or an option is unknown, an option has a wrong value, or two methods decide the same.
    """
    methods: list[Method] = []
    for index, description in enumerate(descriptions):
        kind = description.get("kind") if isinstance(description, Mapping) else None
        if not isinstance(kind, str) or kind not in METHODS:
            raise MethodError(f"method {index} must be of kind {', '.join(METHODS)}, not {short(kind)}")
        options = {key: value for key, value in description.items() if key != "kind"}
        known = {field.name for field in dataclasses.fields(METHODS[kind]) if field.init}  # type: ignore[arg-type]
        unknown = sorted(set(options) - known)
        if unknown:
            raise MethodError(f"{kind} has no option {short(unknown[0])}, only {', '.join(sorted(known)) or 'none'}")
        try:
            methods.append(METHODS[kind](**options))
        except TypeError as error:
            raise MethodError(f"{kind} {str(error).partition(') ')[2] or error}") from None
    _check_decisions(methods)
    return methods


def _check_decisions(methods: Iterable[Method]) -> None:
    made: dict[str, Method] = {}
    for method in methods:
        for decision in sorted(method.decides):
            if decision in made:
                raise MethodError(f"{made[decision].kind} and {method.kind} both decide {decision}: "
                                  f"leave one of them out of the recipe")
            made[decision] = method
