"""What a class of messages, or who uses one, may do that hardly anybody does."""

from unittest.mock import Mock

import numpy as np
import pytest

from penstock.protobuf.arrays import checked_offsets
from penstock.protobuf.errors import EncodeTypeError
from penstock.protobuf.fields import Int32, field


class Noting:
    """Notes what is set."""

    __slots__ = ()
    noted: list[str] = []  # noqa: RUF012

    def __setattr__(self, name, value):
        self.noted.append(name)
        super().__setattr__(name, value)


def choice_class(Message, *bases, body=()):
    class Choice(*bases, Message):
        text: str | None = field(1, oneof="choice")
        number: Int32 | None = field(2, oneof="choice")
        plain: Int32 = field(3)

        vars().update(body)

    return Choice


def derived(base, *, first, **body):
    """A class of `base`, which is used before it or only later."""
    if first:
        base()
    return type(base)("Derived", (base,), body)


def set_in_python(self, name, value):
    super(type(self), self).__setattr__(name, value)


CLASSES = {
    "plain": choice_class,
    "own __setattr__": lambda Message: choice_class(Message, body={"__setattr__": set_in_python}),
    "a base with one": lambda Message: choice_class(Message, Noting),
    "derived": lambda Message: derived(choice_class(Message), first=False),
    "derived of one in use": lambda Message: derived(choice_class(Message), first=True),
    "derived with __setattr__": lambda Message: derived(
        choice_class(Message), first=False, __setattr__=set_in_python
    ),
    "derived with __setattr__ of one in use": lambda Message: derived(
        choice_class(Message), first=True, __setattr__=set_in_python
    ),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_a_oneof_has_one_member_however_its_class_sets_attributes(Message, kind):
    cls = CLASSES[kind](Message)
    for used in (cls, *(base for base in cls.__mro__ if base.__name__ == "Choice")):
        message = used(text="x")
        message.number = 5
        assert (message.text, message.number) == (None, 5)
        setattr(message, "te" + "xt"[:2], "y")
        message.plain = 7
        assert (message.text, message.number, message.plain) == ("y", None, 7)
        with pytest.raises(AttributeError):
            message.other = 1


def test_a_oneof_has_one_member_when_the_name_is_of_a_class_derived_from_str(Message):
    class Name(str):
        __slots__ = ()

    message = choice_class(Message)(text="x")
    setattr(message, Name("number"), 5)
    assert message.text is None


def test_what_only_says_that_it_is_a_message_is_not_written(Message):
    cls = choice_class(Message)
    with pytest.raises(EncodeTypeError, match=r"^Choice\[1\] must be a Choice, got Mock"):
        cls.encode_many([cls(), Mock(spec=cls)])


def test_offsets_that_were_checked_are_nobody_elses():
    offsets = np.array([0, 2, 4])
    checked = checked_offsets(offsets, 4)
    offsets[1] = 2**40
    assert checked.tolist() == [0, 2, 4]
