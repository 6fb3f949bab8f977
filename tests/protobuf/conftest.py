"""The messages of the tests as fixtures, each once per twin."""

import messages
import pytest

from twins import both_twins

Message = both_twins("penstock.protobuf.message")


@pytest.fixture(name="Order")
def order(Message):
    return messages.order_class(Message)


@pytest.fixture(name="Every")
def every(Message):
    return messages.every_kind(Message)


@pytest.fixture(name="Arrays")
def arrays(Message):
    return messages.arrays_class(Message)


@pytest.fixture(name="Old")
def old(Message):
    return messages.old_class(Message)


@pytest.fixture(name="users")
def users(Message):
    return messages.user_classes(Message)
