"""ProtoJSON beside Google's own library: the same messages, both ways."""

import json
import lzma
import math
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import datasets
from penstock.protobuf.compiler.files import compile_text
from penstock.protobuf.declaration import describe
from penstock.protobuf.descriptors import FieldDescriptor, Shape
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.kinds import INTEGER_RANGE, Kind
from penstock.protobuf.schema.schema import build, load_descriptor_set

EVERYTHING = """
    edition = "2023";
    package shop;
    option features.field_presence = IMPLICIT;
    import "google/protobuf/any.proto";
    import "google/protobuf/duration.proto";
    import "google/protobuf/field_mask.proto";
    import "google/protobuf/struct.proto";
    import "google/protobuf/timestamp.proto";
    import "google/protobuf/wrappers.proto";
    enum Corpus { UNSPECIFIED = 0; WEB = 1; BELOW = -7; }
    enum Color { option features.enum_type = CLOSED; RED = 1; GREEN = 2; }
    message Everything {
      double a_double = 1; float a_float = 2; int64 an_int64 = 3; uint64 a_uint64 = 4; int32 an_int32 = 5;
      fixed64 a_fixed64 = 6; fixed32 a_fixed32 = 7; bool a_bool = 8; string a_string = 9; bytes a_bytes = 10;
      uint32 a_uint32 = 11; sfixed32 an_sfixed32 = 12; sfixed64 an_sfixed64 = 13; sint32 an_sint32 = 14;
      sint64 an_sint64 = 15; Corpus corpus = 16;
    }
    message Known {
      double a_double = 1 [features.field_presence = EXPLICIT];
      float a_float = 2 [features.field_presence = EXPLICIT];
      int64 an_int64 = 3 [features.field_presence = EXPLICIT];
      bool a_bool = 4 [features.field_presence = EXPLICIT];
      string a_string = 5 [features.field_presence = EXPLICIT];
      bytes a_bytes = 6 [features.field_presence = EXPLICIT];
      Color color = 7 [features.field_presence = EXPLICIT, default = GREEN];
      Known child = 8;
      Known group = 9 [features.message_encoding = DELIMITED];
      Everything everything = 10;
    }
    message Many {
      repeated double doubles = 1; repeated float floats = 2; repeated int64 longs = 3;
      repeated string texts = 4; repeated bytes blobs = 5; repeated Corpus corpora = 6;
      repeated Color colors = 7; repeated Known known = 8;
      map<string, double> by_text = 9; map<int64, Everything> by_long = 10; map<bool, Corpus> by_bool = 11;
      map<uint32, bytes> by_uint32 = 12;
      oneof one { string one_text = 13; Known one_known = 14; google.protobuf.NullValue one_null = 15; }
    }
    message Special {
      google.protobuf.Timestamp at = 1; google.protobuf.Duration took = 2; google.protobuf.FieldMask mask = 3;
      google.protobuf.Struct extra = 4; google.protobuf.Value value = 5; google.protobuf.ListValue list = 6;
      google.protobuf.DoubleValue a_double = 7; google.protobuf.FloatValue a_float = 8;
      google.protobuf.Int64Value an_int64 = 9; google.protobuf.UInt32Value a_uint32 = 10;
      google.protobuf.BoolValue a_bool = 11; google.protobuf.StringValue a_string = 12;
      google.protobuf.BytesValue a_bytes = 13; repeated google.protobuf.Timestamp times = 14;
      repeated google.protobuf.Value values = 15; map<string, google.protobuf.Duration> spans = 16;
      google.protobuf.Any held = 17; repeated google.protobuf.Any more = 18;
    }
"""
FILES = compile_text(EVERYTHING)
OURS = build(FILES)


def google_pool(descriptor_set: bytes) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for each in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file:
        pool.Add(each)
    return pool


POOL = google_pool(FILES.to_bytes())


def google_class(full_name: str, pool: descriptor_pool.DescriptorPool = POOL) -> Any:
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))


# Random messages. NaNs are plain ones, as JSON knows only that one. Floats of 32 bits are normal ones, as
# Google writes more digits of others than are needed, and none is the greatest, whose text it does not read.

DOUBLES = st.floats(allow_nan=False) | st.just(math.nan)
FLOATS = st.floats(-(2.0**127), 2.0**127, width=32, allow_subnormal=False) | st.sampled_from(
    [math.nan, math.inf, -math.inf]
)
SCALARS = {
    Kind.BOOL: st.booleans(),
    Kind.STRING: st.text(max_size=8),
    Kind.BYTES: st.binary(max_size=8),
    Kind.DOUBLE: DOUBLES,
    Kind.FLOAT: FLOATS,
    **{kind: st.integers(least, most) for kind, (least, most) in INTEGER_RANGE.items()},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
PATHS = st.lists(st.from_regex(r"[a-z]+(_[a-z]+)?(\.[a-z]+)?", fullmatch=True), max_size=3)


def known(full_name: str) -> Any:
    return OURS[full_name]


def durations() -> Any:
    duration = known("google.protobuf.Duration")
    return st.integers(-315_576_000_000 * 10**9, 315_576_000_000 * 10**9).map(duration.from_nanoseconds)


def timestamps() -> Any:
    timestamp = known("google.protobuf.Timestamp")
    return st.builds(
        timestamp,
        seconds=st.integers(-62_135_596_800, 253_402_300_799),
        nanos=st.integers(0, 999_999_999) | st.sampled_from([0, 10**6, 10**3, 123_000_000]),
    )


def packed(message: Any) -> Any:
    url = f"type.googleapis.com/{describe(message).full_name}"
    return known("google.protobuf.Any")(type_url=url, value=message.to_bytes())


def messages(full_name: str, depth: int = 2) -> Any:
    """Messages of a class; sub-messages are at most so many levels deep."""
    special = {
        "google.protobuf.Timestamp": timestamps,
        "google.protobuf.Duration": durations,
        "google.protobuf.FieldMask": lambda: PATHS.map(lambda paths: known(full_name)(paths=paths)),
        "google.protobuf.Value": lambda: JSON.map(known(full_name).from_dict),
        "google.protobuf.Struct": lambda: st.dictionaries(st.text(max_size=3), JSON, max_size=3).map(
            known(full_name).from_dict
        ),
        "google.protobuf.ListValue": lambda: st.lists(JSON, max_size=3).map(known(full_name).from_dict),
        "google.protobuf.Any": lambda: st.one_of(
            messages("shop.Everything", 0).map(packed),
            durations().map(packed),
            durations().map(packed).map(packed),
        ),
    }
    if full_name in special:
        return special[full_name]()
    cls = known(full_name)
    fields = {
        each.name: values(each, depth) for each in describe(cls).fields if depth or each.message is None
    }
    oneof = [name for names in describe(cls).oneofs.values() for name in (each.name for each in names)]
    plain = {name: strategy for name, strategy in fields.items() if name not in oneof}
    made = st.fixed_dictionaries({}, optional=plain)
    members = [st.fixed_dictionaries({name: fields[name]}) for name in oneof if name in fields]
    return st.builds(lambda one, rest: cls(**one, **rest), st.one_of(st.just({}), *members), made)


def values(field: FieldDescriptor, depth: int) -> Any:
    if field.message is not None:
        one = st.deferred(lambda: messages(describe(field.message).full_name, depth - 1))
    elif field.enum is not None:
        one = st.sampled_from(list(field.enum))
    else:
        one = SCALARS[field.kind]
    if field.shape is Shape.MAP:
        return st.dictionaries(SCALARS[field.key], one, max_size=3)
    return st.lists(one, max_size=3) if field.shape is Shape.REPEATED else one


FEW = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
NAMES = ["shop.Everything", "shop.Known", "shop.Many", "shop.Special"]


@pytest.mark.parametrize("full_name", NAMES)
@FEW
@given(data=st.data(), preserving=st.booleans(), defaults=st.booleans(), integers=st.booleans())
def test_google_writes_the_same_json(full_name, data, preserving, defaults, integers):
    message = data.draw(messages(full_name))
    theirs = google_class(full_name).FromString(message.to_bytes())
    expected = json_format.MessageToDict(
        theirs,
        descriptor_pool=POOL,
        preserving_proto_field_name=preserving,
        always_print_fields_with_no_presence=defaults,
        use_integers_for_enums=integers,
    )
    ours = message.to_dict(
        preserving_names=preserving, including_defaults=defaults, enums_as_integers=integers, types=OURS
    )
    if integers:  # of NullValue Google then writes 0, which ProtoJSON does not know
        expected.pop("one_null" if preserving else "oneNull", None)
        ours.pop("one_null" if preserving else "oneNull", None)
    assert ours == expected


@pytest.mark.parametrize("full_name", NAMES)
@FEW
@given(data=st.data())
def test_each_reads_what_the_other_writes(full_name, data):
    message = data.draw(messages(full_name))
    cls = google_class(full_name)
    theirs = json_format.Parse(message.to_json(types=OURS), cls(), descriptor_pool=POOL)
    expected = message.to_bytes(deterministic=True)  # Google's own order of a map's entries is another
    assert type(message).from_bytes(theirs.SerializeToString()).to_bytes(deterministic=True) == expected
    text = json_format.MessageToJson(theirs, descriptor_pool=POOL)
    ours = type(message).from_json(text, types=OURS)
    assert ours.to_bytes(deterministic=True) == expected


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4)
    | st.sampled_from(["1", "-1", "1.5", "1e3", "RED", "WEB", "true", "NaN", "AA==", "1s", "-Infinity"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip


@pytest.mark.parametrize("full_name", NAMES)
@FEW
@given(data=st.data())
def test_nothing_but_a_decode_error_comes_of_any_json(full_name, data):
    cls = known(full_name)
    names = [each.json_name for each in describe(cls).fields]
    text = json.dumps(data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=3)))
    try:
        message = cls.from_json(text.replace("NaN", '"NaN"').replace("Infinity", "1e999"), types=OURS)
    except DecodeError:
        return
    assert cls.from_json(message.to_json(types=OURS), types=OURS).to_bytes() == message.to_bytes()


# Real messages.

BENCHMARKS = ["google_message1_proto2", "google_message1_proto3", "google_message2"]


@pytest.mark.data
@pytest.mark.parametrize("name", BENCHMARKS)
def test_googles_benchmark_messages_are_written_and_read(name):
    schema = load_descriptor_set(datasets.require("protobuf/descriptor_sets/google_benchmarks.binpb"))
    folder = "google_message2" if name == "google_message2" else name.replace("_proto", "/proto")
    path = f"protobuf/google_benchmarks/benchmarks/datasets/{folder}/dataset.{name}.pb"
    benchmark = schema["benchmarks.BenchmarkDataset"].from_bytes(datasets.require(path).read_bytes())
    cls = schema[benchmark.message_name]
    message = cls.from_bytes(benchmark.payload[0])
    expected = datasets.require(f"protobuf/google_benchmarks/expected/{name}.json.xz").read_bytes()
    assert message.to_dict() == json.loads(lzma.decompress(expected))
    back = cls.from_json(lzma.decompress(expected))
    assert back.to_dict() == message.to_dict()


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "full_name"),
    [
        ("trace", "opentelemetry.proto.trace.v1.TracesData"),
        ("logs", "opentelemetry.proto.logs.v1.LogsData"),
        ("metrics", "opentelemetry.proto.metrics.v1.MetricsData"),
    ],
)
def test_the_examples_of_opentelemetry_are_read(name, full_name):
    cls = load_descriptor_set(datasets.require("protobuf/descriptor_sets/otlp.binpb"))[full_name]
    text = json.loads(
        datasets.require(f"protobuf/otlp/examples/{name}.json").read_bytes(), object_hook=base64_ids
    )
    binary = datasets.require(f"protobuf/otlp/examples/{name}.binpb").read_bytes()
    assert cls.from_dict(text) == cls.from_bytes(binary)
    assert cls.from_dict(cls.from_bytes(binary).to_dict()) == cls.from_bytes(binary)


def base64_ids(item: dict[str, Any]) -> dict[str, Any]:
    """OTLP's JSON has its own rule: ids of traces and spans are hexadecimal, where ProtoJSON has base64."""
    import base64

    ids = {"traceId", "spanId", "parentSpanId"} & item.keys()
    return item | {each: base64.b64encode(bytes.fromhex(item[each])).decode() for each in ids}
