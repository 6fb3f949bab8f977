"""Messages that go to Google's runtime and come from it."""

import subprocess
import sys

import pytest
from google.api import http_pb2
from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.rpc import status_pb2

from penstock.protobuf.fields import Int32, field
from penstock.protobuf.google_bridge import class_of, from_google, to_google
from penstock.protobuf.message import Message
from penstock.protobuf.well_known import Any, Timestamp


def pool_of(*files):
    pool = descriptor_pool.DescriptorPool()
    for each in files:
        pool.Add(each)
    return pool


def class_in(pool, name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def file_with_a_required_field():
    file = descriptor_pb2.FileDescriptorProto(name="old.proto", package="old")
    message = file.message_type.add(name="Ticket")
    message.field.add(name="number", number=1, type="TYPE_INT32", label="LABEL_REQUIRED")
    message.field.add(name="note", number=2, type="TYPE_STRING", label="LABEL_OPTIONAL")
    return file


def test_message_comes_over_with_its_sub_messages_and_goes_back():
    theirs = http_pb2.Http(rules=[http_pb2.HttpRule(selector="shop.Get", get="/v1/{name}", body="*")])
    ours = from_google(theirs)
    assert (ours.rules[0].selector, ours.rules[0].which_oneof("pattern")) == ("shop.Get", "get")
    assert to_google(ours, http_pb2.Http) == theirs


def test_well_known_messages_are_those_of_penstock():
    theirs = status_pb2.Status(code=5)
    theirs.details.add().Pack(timestamp_pb2.Timestamp(seconds=7))
    ours = from_google(theirs)
    assert type(ours.details[0]) is Any
    assert ours.details[0].type_url == "type.googleapis.com/google.protobuf.Timestamp"
    assert to_google(Timestamp(seconds=3), timestamp_pb2.Timestamp) == timestamp_pb2.Timestamp(seconds=3)


def test_recursive_message_comes_over():
    theirs = struct_pb2.Struct()
    theirs.update({"a": [1, {"b": None}]})
    assert to_google(from_google(theirs), struct_pb2.Struct) == theirs


def test_class_is_made_once_and_shared_within_its_file():
    assert class_of(http_pb2.Http) is class_of(http_pb2.Http)
    ours = from_google(http_pb2.Http(rules=[http_pb2.HttpRule()]))
    assert type(ours.rules[0]) is class_of(http_pb2.HttpRule)


def test_class_of_ones_own_is_used_when_it_is_named():
    class Status(Message, package="google.rpc"):
        code: Int32 = field(1)

    ours = from_google(status_pb2.Status(code=5, message="gone"), Status)
    assert (type(ours), ours.code) == (Status, 5)
    assert to_google(ours, status_pb2.Status).message == "gone"  # unknown here, and kept


def test_unknown_fields_of_theirs_come_along():
    theirs = timestamp_pb2.Timestamp.FromString(b"\x08\x01\x98\x06\x05")
    ours = from_google(theirs)
    assert (ours.seconds, ours.unknown_fields) == (1, b"\x98\x06\x05")
    assert to_google(ours, timestamp_pb2.Timestamp).SerializeToString() == theirs.SerializeToString()


def test_message_without_its_required_field_comes_over():
    theirs = class_in(pool_of(file_with_a_required_field()), "old.Ticket")
    ours = from_google(theirs(note="lost"))
    assert (ours.number, ours.note) == (None, "lost")


def test_equal_names_in_two_pools_are_two_messages():
    one = class_in(pool_of(file_with_a_required_field()), "old.Ticket")
    file = file_with_a_required_field()
    del file.message_type[0].field[1]
    other = class_in(pool_of(file), "old.Ticket")
    assert hasattr(class_of(one), "note")
    assert not hasattr(class_of(other), "note")


def test_message_of_another_name_is_refused():
    with pytest.raises(TypeError, match=r"of one message, got google\.rpc\.Status and Google's google\.prot"):
        to_google(from_google(status_pb2.Status()), timestamp_pb2.Timestamp)
    with pytest.raises(TypeError, match=r"must be of one message, got google\.protobuf\.Any and Google's"):
        from_google(timestamp_pb2.Timestamp(), Any)


@pytest.mark.parametrize("thing", [b"\x08\x01", None, any_pb2, Timestamp(seconds=1)])
def test_what_is_no_message_of_googles_is_refused(thing):
    with pytest.raises(TypeError, match="message must be a message of Google's runtime, got "):
        from_google(thing)


@pytest.mark.parametrize("thing", [int, Timestamp, timestamp_pb2.Timestamp(), None])
def test_what_is_no_class_of_googles_is_refused(thing):
    with pytest.raises(TypeError, match="google_class must be a class of Google's runtime, got "):
        class_of(thing)


def test_value_out_of_its_range_is_refused_before_google_sees_it():
    ours = class_of(wrappers_pb2.Int32Value)(value=1 << 40)
    with pytest.raises(ValueError, match="must be -2147483648 to 2147483647, got 1099511627776"):
        to_google(ours, wrappers_pb2.Int32Value)


def test_without_googles_package_the_import_says_what_to_install():
    code = "import sys; sys.modules['google.protobuf'] = None; import penstock.protobuf.google_bridge"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "needs protobuf: pip install 'penstock[google]'" in ended.stderr
