import dataclasses
from typing import Any

import pytest

from arch.json_object import check_value, make


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Leaf:
    count: int
    note: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    name: str
    ratio: float
    ready: bool = False
    leaves: list[Leaf] = dataclasses.field(default_factory=list)
    first: Leaf | None = None
    sizes: dict[str, int | bool] = dataclasses.field(default_factory=dict)
    rest: Any = None


WHOLE = {"name": "a", "ratio": 1.5, "ready": True, "leaves": [{"count": 1, "note": "x"}, {"count": 2, "note": None}],
         "first": {"count": 3, "note": None}, "sizes": {"a": 1, "b": True}, "rest": [None, {"a": 1}]}


def test_every_value_comes_back_in_its_field():
    made = make(Tree, WHOLE)
    assert made == Tree(name="a", ratio=1.5, ready=True, leaves=[Leaf(count=1, note="x"), Leaf(count=2)],
                        first=Leaf(count=3), sizes={"a": 1, "b": True}, rest=[None, {"a": 1}])
    assert make(Tree, dataclasses.asdict(made), exact=True) == made


def test_what_has_a_default_may_be_left_out_and_other_keys_are_ignored():
    made = make(Tree, {"name": "a", "ratio": 2, "new": 1, "first": {"count": 1, "newer": 2}})
    assert made == Tree(name="a", ratio=2, first=Leaf(count=1))
    # A number is not converted: a report is written again as it was read.
    assert type(made.ratio) is int


@pytest.mark.parametrize(("value", "message"), [
    ([], "it must be an object, not []"),
    ({"name": "a"}, "it has no 'ratio'"),
    ({"name": 5, "ratio": 1}, "name must be a string, not 5"),
    ({"name": "a", "ratio": True}, "ratio must be a finite number, not True"),
    ({"name": "a", "ratio": float("inf")}, "ratio must be a finite number, not inf"),
    ({"name": "a", "ratio": 1 << 2000}, f"ratio must be a finite number, not {str(1 << 2000)[:37]}..."),
    ({"name": "a", "ratio": 1, "ready": 1}, "ready must be true or false, not 1"),
    ({"name": "a", "ratio": 1, "leaves": {}}, "leaves must be a list, not {}"),
    ({"name": "a", "ratio": 1, "leaves": [None]}, "leaves 0 must be an object, not None"),
    ({"name": "a", "ratio": 1, "leaves": [{"count": 1}, {"count": 1.0}]},
     "leaves 1 count must be an integer, not 1.0"),
    ({"name": "a", "ratio": 1, "leaves": [{}]}, "leaves 0 has no 'count'"),
    ({"name": "a", "ratio": 1, "first": 0}, "first must be an object, not 0"),
    ({"name": "a", "ratio": 1, "first": {"count": 1, "note": 1}}, "first note must be a string or null, not 1"),
    ({"name": "a", "ratio": 1, "sizes": {"x\ny": 1.5}}, r"sizes 'x\ny' must be an integer or true or false, not 1.5"),
    ({"name": "a", "ratio": 1, "sizes": []}, "sizes must be an object, not []"),
])
def test_values_of_other_types_are_refused(value, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        make(Tree, value)
    assert str(caught.value) == message


@pytest.mark.parametrize(("change", "message"), [
    (lambda whole: whole.pop("ready"), "it has no 'ready'"),
    (lambda whole: whole["first"].pop("note"), "first has no 'note'"),
    (lambda whole: whole.update(new=1), "it must not have new"),
    (lambda whole: whole["leaves"][1].update({"a\nb": 1}), r"leaves 1 must not have 'a\nb'"),
])
def test_an_exact_object_has_every_key_and_no_other(change, message):
    whole = dataclasses.asdict(make(Tree, WHOLE))
    change(whole)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
        make(Tree, whole, exact=True)
    assert str(caught.value) == message


def test_a_single_value_is_checked():
    assert check_value(list[int], [1, 2], "it") == [1, 2]
    assert check_value(list[Leaf], [{"count": 1, "new": 2}], "it") == [Leaf(count=1)]
    with pytest.raises(ValueError, match=r"^it 1 must be an integer, not True$"):
        check_value(list[int], [1, True], "it")
