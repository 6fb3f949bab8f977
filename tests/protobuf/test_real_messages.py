"""Messages that others wrote, read and written again: the same bytes, or those that Google writes."""

import gzip
import lzma
import tarfile
import zlib

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from datasets import require
from penstock.protobuf.errors import DecodeError
from penstock.protobuf.schema.descriptor_proto import FileDescriptorSet
from penstock.protobuf.schema.schema import Schema
from twins import both_twins

Message = both_twins("penstock.protobuf.message")

pytestmark = pytest.mark.data


@pytest.fixture
def schema_of(Message):
    """The schema of a descriptor set, its classes on one twin."""

    def made(path, *, arrays=False):
        files = FileDescriptorSet.from_bytes(read(path))
        return Schema(files, {}, arrays=arrays, module="", root=Message)

    return made


def read(path):
    data = require(f"protobuf/{path}").read_bytes()
    if path.endswith(".xz"):
        return lzma.decompress(data)
    return gzip.decompress(data) if path.endswith(".gz") else data


def again(schema, full_name, data):
    """The bytes that a message is written as after it was read; merging, copying and its size agree."""
    cls = schema[full_name]
    message = cls.from_bytes(data)
    merged = cls()
    merged.merge_from(memoryview(data))
    written = message.to_bytes()
    assert merged.to_bytes() == written
    assert message.copy().to_bytes() == written
    assert message.byte_size() == len(written)
    return written


def as_google_writes_it(path, full_name, data):
    pool = descriptor_pool.DescriptorPool()
    for each in descriptor_pb2.FileDescriptorSet.FromString(read(path)).file:
        pool.Add(each)
    cls = message_factory.GetMessageClass(pool.FindMessageTypeByName(full_name))
    return cls.FromString(data).SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    "path",
    [
        "google_message1/proto2/dataset.google_message1_proto2.pb",
        "google_message1/proto3/dataset.google_message1_proto3.pb",
        "google_message2/dataset.google_message2.pb",
    ],
)
def test_googles_benchmark_messages(schema_of, path):
    schemas = "descriptor_sets/google_benchmarks.binpb"
    schema = schema_of(schemas)
    data = read(f"google_benchmarks/benchmarks/datasets/{path}")
    assert again(schema, "benchmarks.BenchmarkDataset", data) == data
    dataset = schema["benchmarks.BenchmarkDataset"].from_bytes(data)
    assert len(dataset.payload) == 1
    for payload in dataset.payload:
        written = again(schema, dataset.message_name, payload)
        if "proto3" in path:  # it has zeros in it, which a writer of proto3 leaves out
            assert (len(payload), len(written)) == (228, 221)
            assert written == as_google_writes_it(schemas, dataset.message_name, payload)
        else:
            assert written == payload


@pytest.mark.parametrize("arrays", [False, True], ids=["lists", "arrays"])
@pytest.mark.parametrize(
    ("name", "full_name"),
    [
        ("golden_message_oneof_implemented", "protobuf_unittest.TestAllTypes"),
        ("golden_message_maps", "protobuf_unittest.TestMaps"),
        ("golden_packed_fields_message", "protobuf_unittest.TestPackedTypes"),
        ("golden_message_proto3", "proto3_unittest.TestAllTypes"),
        ("bad_utf8_string", "protobuf_unittest.OneString"),
    ],
)
def test_googles_golden_messages(schema_of, name, full_name, arrays):
    data = read(f"golden/testdata/{name}")
    assert again(schema_of("golden/descriptors.binpb", arrays=arrays), full_name, data) == data


def test_the_golden_message_from_before_there_were_oneofs_keeps_the_last_member_of_each(schema_of):
    data, full_name = read("golden/testdata/golden_message"), "protobuf_unittest.TestAllTypes"
    written = again(schema_of("golden/descriptors.binpb"), full_name, data)
    assert (len(data), len(written)) == (537, 521)
    assert written == as_google_writes_it("golden/descriptors.binpb", full_name, data)


def test_text_that_is_no_utf8_is_refused_in_proto3(schema_of):
    schema = schema_of("golden/descriptors.binpb")
    with pytest.raises(DecodeError, match=r"^TestAllTypes.optional_string at byte 0: the text is no UTF-8$"):
        schema["proto3_unittest.TestAllTypes"].from_bytes(read("golden/testdata/bad_utf8_string"))


def test_feeds_of_the_new_york_subway(schema_of):
    schemas, full_name = "descriptor_sets/gtfs_realtime.binpb", "transit_realtime.FeedMessage"
    schema = schema_of(schemas)
    entities, others = 0, []
    with tarfile.open(require("protobuf/gtfs_realtime/nyct_feeds.tar.xz")) as feeds:
        for member in feeds:
            if not member.isfile():
                continue
            data = feeds.extractfile(member).read()
            feed = schema[full_name].from_bytes(data)
            written = feed.to_bytes()
            entities += len(feed.entity)
            if written != data:
                others.append(member.name)
                assert written == as_google_writes_it(schemas, full_name, data)
    assert entities == 8777
    assert others == ["nyct_wrong_way/l.pb"]  # the one whose fields are not in the order of their numbers


@pytest.mark.parametrize("arrays", [False, True], ids=["lists", "arrays"])
def test_a_profile_of_pprof(schema_of, arrays):
    data, full_name = read("pprof/sample.cpu.pb.gz"), "perftools.profiles.Profile"
    written = again(schema_of("descriptor_sets/pprof.binpb", arrays=arrays), full_name, data)
    assert written == as_google_writes_it("descriptor_sets/pprof.binpb", full_name, data)
    assert len(written) == len(data)


@pytest.mark.parametrize("arrays", [False, True], ids=["lists", "arrays"])
@pytest.mark.parametrize(
    "name",
    [
        "GranFileBlock1-deflate.osm.pbf",
        "GranFileBlock1-none.osm.pbf",
        "SimpleFileBlock1-deflate.osm.pbf",
        "SimpleFileBlock1-none.osm.pbf",
        "sample.pbf",
    ],
)
def test_maps_of_openstreetmap(schema_of, name, arrays):
    schema = schema_of("descriptor_sets/osm.binpb", arrays=arrays)
    data = read(f"osm/{name}")
    position = blocks = 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        position += 4
        head = data[position : position + size]
        assert again(schema, "OSMPBF.BlobHeader", head) == head
        header = schema["OSMPBF.BlobHeader"].from_bytes(head)
        position += size
        body = data[position : position + header.datasize]
        assert again(schema, "OSMPBF.Blob", body) == body
        blob = schema["OSMPBF.Blob"].from_bytes(body)
        block = blob.raw if blob.which_oneof("data") == "raw" else zlib.decompress(blob.zlib_data)
        full_name = {"OSMHeader": "OSMPBF.HeaderBlock", "OSMData": "OSMPBF.PrimitiveBlock"}[header.type]
        assert again(schema, full_name, block) == block
        position += header.datasize
        blocks += 1
    assert blocks >= 3


@pytest.mark.parametrize("arrays", [False, True], ids=["lists", "arrays"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("logs", "logs.v1.LogsData"),
        ("events", "logs.v1.LogsData"),
        ("trace", "trace.v1.TracesData"),
        ("metrics", "metrics.v1.MetricsData"),
    ],
)
def test_examples_of_opentelemetry(schema_of, name, message, arrays):
    data = read(f"otlp/examples/{name}.binpb")
    schema = schema_of("descriptor_sets/otlp.binpb", arrays=arrays)
    assert again(schema, f"opentelemetry.proto.{message}", data) == data


@pytest.mark.parametrize(
    "name",
    [
        "googleapis.binpb.xz",
        "google_benchmarks.binpb",
        "gtfs_realtime.binpb",
        "osm.binpb",
        "otlp.binpb",
        "pprof.binpb",
    ],
)
def test_descriptor_sets_read_by_the_schema_of_descriptors(schema_of, name):
    data = read(f"descriptor_sets/{name}")
    schema = schema_of("descriptor_sets/googleapis.binpb.xz")  # google.api brings descriptor.proto along
    assert schema["google.protobuf.FileDescriptorSet"].from_bytes(data).to_bytes() == data
    assert FileDescriptorSet.from_bytes(data).to_bytes() == data
