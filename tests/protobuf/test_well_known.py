"""The well-known types and what they are made of and into."""

import time
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from google.protobuf import any_pb2, descriptor_pool, duration_pb2, struct_pb2, timestamp_pb2
from hypothesis import given
from hypothesis import strategies as st
from protoc import descriptor_set

from penstock.protobuf.declaration import describe
from penstock.protobuf.enums import Enum
from penstock.protobuf.errors import DecodeError, EncodeError, SchemaError
from penstock.protobuf.options import DecodeOptions
from penstock.protobuf.schema.schema import load_descriptor_set
from penstock.protobuf.well_known import (
    WELL_KNOWN,
    Any,
    Duration,
    Int32Value,
    ListValue,
    NullValue,
    StringValue,
    Struct,
    Timestamp,
    Value,
)

SECOND = 1_000_000_000


@given(st.datetimes(timezones=st.timezones()).filter(lambda when: 1 < when.year < 9999))
def test_a_datetime_becomes_a_timestamp_and_itself_again(when):
    ours, theirs = Timestamp.from_datetime(when), timestamp_pb2.Timestamp()
    theirs.FromDatetime(when)
    assert ours.to_bytes() == theirs.SerializeToString()
    assert ours.to_datetime() == when.astimezone(UTC)
    assert ours.to_datetime().tzinfo is UTC


def test_nanoseconds_before_1970_have_nanos_that_count_forward():
    stamp = Timestamp.from_nanoseconds(-1)
    assert (stamp.seconds, stamp.nanos) == (-1, 999_999_999)
    assert stamp.to_nanoseconds() == -1
    assert stamp.to_datetime() == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


def test_the_time_of_the_clock_is_kept_to_the_nanosecond():
    now = time.time_ns()
    assert Timestamp.from_bytes(Timestamp.from_nanoseconds(now).to_bytes()).to_nanoseconds() == now


def test_timestamps_are_of_the_years_1_to_9999():
    first, last = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND - 1
    assert Timestamp.from_nanoseconds(first).to_datetime() == datetime(1, 1, 1, tzinfo=UTC)
    assert Timestamp.from_nanoseconds(last).to_datetime() == datetime.max.replace(tzinfo=UTC)
    for beyond in (first - 1, last + 1):
        with pytest.raises(
            ValueError, match=r"^seconds must be -62135596800 to 253402300799, the years 1 to 9999, got"
        ):
            Timestamp.from_nanoseconds(beyond)
    with pytest.raises(ValueError, match=r"^nanos must be 0 to 999999999, got -1$"):
        Timestamp(seconds=1, nanos=-1).to_datetime()
    with pytest.raises(ValueError, match=r"^seconds must be .* got 253402300800$"):
        Timestamp(seconds=253_402_300_800).to_nanoseconds()


def test_a_datetime_without_a_time_zone_is_refused():
    with pytest.raises(
        ValueError, match=r"^a datetime must know its time zone, as datetime.now\(UTC\) does, got 2026-"
    ):
        Timestamp.from_datetime(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


@given(st.timedeltas(timedelta(days=-3_000_000), timedelta(days=3_000_000)))
def test_a_timedelta_becomes_a_duration_and_itself_again(span):
    ours, theirs = Duration.from_timedelta(span), duration_pb2.Duration()
    theirs.FromTimedelta(span)
    assert ours.to_bytes() == theirs.SerializeToString()
    assert ours.to_timedelta() == span


def test_both_parts_of_a_duration_have_its_sign_and_less_than_a_microsecond_is_cut_off():
    span = Duration.from_nanoseconds(-1_500_000_999)
    assert (span.seconds, span.nanos) == (-1, -500_000_999)
    assert span.to_timedelta() == timedelta(seconds=-1, microseconds=-500_000)
    assert span.to_nanoseconds() == -1_500_000_999


def test_durations_are_at_most_10_000_years_and_of_one_sign():
    most = 315_576_000_000
    assert Duration.from_nanoseconds(most * SECOND).seconds == most
    with pytest.raises(
        ValueError, match=r"^seconds must be -315576000000 to 315576000000, 10,000 years, got 315576000001$"
    ):
        Duration.from_nanoseconds((most + 1) * SECOND)
    for seconds, nanos in ((1, -1), (-1, 1), (0, SECOND)):
        with pytest.raises(
            ValueError, match=r"^nanos must be less than a second and have the sign of seconds, got"
        ):
            Duration(seconds=seconds, nanos=nanos).to_timedelta()


@pytest.mark.parametrize("broken", [Timestamp(seconds="1"), Duration(nanos=1.5)])
def test_what_is_no_number_is_refused(broken):
    with pytest.raises(TypeError, match=r"^seconds and nanoseconds must be integers, got"):
        broken.to_nanoseconds()


@pytest.mark.parametrize("cls", [Timestamp, Duration])
def test_the_integers_of_numpy_are_as_good_as_any_and_never_overflow(cls):
    most = np.iinfo(np.int64).max
    assert cls.from_nanoseconds(most).to_nanoseconds() == most
    assert cls(seconds=np.int64(10**10), nanos=np.int32(7)).to_nanoseconds() == 10**19 + 7


def test_what_is_no_time_is_refused():
    with pytest.raises(
        TypeError, match=r"^a timestamp is made of a datetime, got datetime\.date\(2026, 1, 1\)$"
    ):
        Timestamp.from_datetime(date(2026, 1, 1))
    with pytest.raises(TypeError, match=r"^a duration is made of a timedelta, got 5$"):
        Duration.from_timedelta(5)
    with pytest.raises(TypeError, match=r"^seconds and nanoseconds must be integers, got 1\.5$"):
        Duration.from_nanoseconds(1.5)


def test_any_holds_a_message_of_any_type():
    packed = Any.pack(Int32Value(value=7))
    theirs = any_pb2.Any.FromString(packed.to_bytes())
    assert theirs.TypeName() == packed.type_name == "google.protobuf.Int32Value"
    assert packed.holds(Int32Value)
    assert not packed.holds(StringValue)
    assert packed.unpack(Int32Value) == Int32Value(value=7)
    assert packed.unpack(WELL_KNOWN) == Int32Value(value=7)
    assert (
        Any.pack(Int32Value(), prefix="example.com/types").type_url
        == "example.com/types/google.protobuf.Int32Value"
    )


def test_any_is_unpacked_by_a_schema():
    schema = load_descriptor_set(
        descriptor_set({"a.proto": 'syntax = "proto3"; package a; message M { int32 x = 1; }'})
    )
    packed = Any.pack(schema["a.M"](x=5))
    assert packed.unpack(schema) == schema["a.M"](x=5)
    with pytest.raises(
        SchemaError, match=r"^Any must hold a message of the schema, got google.protobuf.Int32Value$"
    ):
        Any.pack(Int32Value()).unpack(schema)


def test_any_that_names_an_enum_is_refused():
    with pytest.raises(
        SchemaError, match=r"^Any must hold a message of the schema, got google.protobuf.NullValue$"
    ):
        Any(type_url="x/google.protobuf.NullValue", value=b"a").unpack(WELL_KNOWN)


def test_an_error_repeats_the_beginning_of_a_long_name_only():
    schema = load_descriptor_set(descriptor_set({"a.proto": 'syntax = "proto3"; message M {}'}))
    with pytest.raises(SchemaError, match=r"^Any must hold a message of the schema, got M{100}$"):
        Any(type_url="x/" + "M" * 1_000_000).unpack(schema)
    with pytest.raises(SchemaError, match=r"^the schema has no message or enum 'M{1000}'"):
        schema["M" * 1_000_000]


def test_any_of_another_type_or_of_bad_bytes_is_refused():
    with pytest.raises(
        SchemaError, match=r"^Any must hold a google.protobuf.StringValue, got google.protobuf.Int32Value$"
    ):
        Any.pack(Int32Value()).unpack(StringValue)
    with pytest.raises(SchemaError, match=r"^Any must hold a google.protobuf.StringValue, got nothing$"):
        Any().unpack(StringValue)
    broken = Any(type_url="x/google.protobuf.StringValue", value=b"\x0a\x05ab")
    with pytest.raises(DecodeError, match=r"^StringValue.value at byte 0: a length of 5 runs past the end"):
        broken.unpack(StringValue)
    with pytest.raises(DecodeError, match=r"must be at most 1 bytes, got 4$"):
        Any.pack(StringValue(value="ab")).unpack(StringValue, DecodeOptions(max_size=1))
    with pytest.raises(EncodeError):
        Any.pack(Int32Value(value=2**31))


def test_struct_is_what_json_is():
    data = {"text": "a", "number": 1.5, "list": [True, None, {"inner": "b"}], "empty": {}}
    struct = Struct.from_dict(data)
    theirs = struct_pb2.Struct.FromString(struct.to_bytes())
    assert theirs["list"][2]["inner"] == "b"
    assert struct.to_dict() == data
    assert struct.fields["list"] == Value(
        list_value=ListValue(
            values=[
                Value(bool_value=True),
                Value(null_value=NullValue.NULL_VALUE),
                Value(struct_value=Struct(fields={"inner": Value(string_value="b")})),
            ]
        )
    )


def test_every_well_known_type_is_what_google_says():
    import google.protobuf.api_pb2
    import google.protobuf.empty_pb2
    import google.protobuf.field_mask_pb2
    import google.protobuf.wrappers_pb2  # noqa: F401 - each adds its messages to the pool

    pool = descriptor_pool.Default()
    for full_name, cls in WELL_KNOWN.items():
        if issubclass(cls, Enum):
            assert cls.__proto_names__ == {
                each.name: each.number for each in pool.FindEnumTypeByName(full_name).values
            }
            continue
        theirs = pool.FindMessageTypeByName(full_name)
        assert [(each.proto_name, each.number) for each in describe(cls).fields] == [
            (each.name, each.number) for each in theirs.fields
        ]
        assert describe(cls).full_name == full_name


def test_a_time_zone_is_no_part_of_a_timestamp():
    here = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=-5)))
    assert Timestamp.from_datetime(here).to_datetime() == datetime(2026, 1, 1, 17, tzinfo=UTC)
