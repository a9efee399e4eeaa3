"""Named tuples that are made without the module typing."""

from __future__ import annotations

import copy
import pickle
import typing

import pytest

from dbutils._base import hints


class Ours(hints.NamedTuple):
    """A named tuple of the library."""

    first: int
    second: str = "two"
    third: float = 3.0

    @property
    def both(self):
        return self.first, self.second

    def __str__(self):
        return f"<{self.first}>"


class Theirs(typing.NamedTuple):
    """A named tuple of the standard library."""

    first: int
    second: str = "two"
    third: float = 3.0

    @property
    def both(self):
        return self.first, self.second

    def __str__(self):
        return f"<{self.first}>"


@pytest.fixture(params=[Ours, Theirs], ids=["ours", "theirs"])
def kind(request):
    return request.param


def test_the_fields_have_names_and_defaults(kind):
    assert kind._fields == ("first", "second", "third")
    assert kind._field_defaults == {"second": "two", "third": 3.0}
    assert list(kind.__annotations__) == ["first", "second", "third"]
    assert kind(1) == (1, "two", 3.0)
    assert kind(1, third=None) == (1, "two", None)
    assert kind(first=1, second=2) == (1, 2, 3.0)


def test_the_values_can_be_read_by_name_and_by_number(kind):
    one = kind(1, 2, 3)
    first, *others = one
    assert (first, others) == (1, [2, 3])
    assert (one.first, one[1], one.third) == (1, 2, 3)
    assert one.both == (1, 2)
    assert str(one) == "<1>"
    assert repr(one) == f"{kind.__name__}(first=1, second=2, third=3)"
    assert kind.__doc__.startswith("A named tuple of the ")


def test_it_is_a_tuple_without_other_attributes(kind):
    one = kind(1)
    assert isinstance(one, tuple)
    assert type(kind) is type
    assert hash(one) == hash((1, "two", 3.0))
    with pytest.raises(AttributeError):
        one.fourth = 4
    with pytest.raises(AttributeError):
        one.first = 4


def test_the_number_of_values_is_checked(kind):
    for args, options in [
            ((), {}), ((1, 2, 3, 4), {}), ((1,), {"fourth": 4}),
            ((1,), {"first": 1})]:
        with pytest.raises(TypeError):
            kind(*args, **options)
    with pytest.raises(TypeError):
        kind._make(range(4))


def test_others_can_be_made_of_it(kind):
    one = kind(1)
    assert one._replace(second=2) == (1, 2, 3.0)
    assert type(one._replace(second=2)) is kind
    assert one._asdict() == {"first": 1, "second": "two", "third": 3.0}
    assert kind._make(iter(range(3))) == (0, 1, 2)
    with pytest.raises((TypeError, ValueError)):
        one._replace(fourth=4)
    for other in copy.copy(one), copy.deepcopy(one), pickle.loads(
            pickle.dumps(one)):
        assert other == one
        assert type(other) is kind


def test_a_class_can_be_derived_from_it(kind):
    class Doubled(kind):
        def __new__(cls, first):
            return super().__new__(cls, first, 2 * first)

    for number in 1, 2:  # the first one also makes what makes the others
        assert Doubled(number) == (number, 2 * number, 3.0)
        assert type(Doubled(number)) is Doubled
        assert type(kind(number)) is kind
