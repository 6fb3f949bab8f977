"""Messages that other people wrote, from the real data, each with the schema that it has."""

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2
from random_messages import World

import datasets

GOLDEN = {
    "golden_message": "protobuf_unittest.TestAllTypes",
    "golden_message_oneof_implemented": "protobuf_unittest.TestAllTypes",
    "golden_message_proto3": "proto3_unittest.TestAllTypes",
    "golden_message_maps": "protobuf_unittest.TestMaps",
    "golden_packed_fields_message": "protobuf_unittest.TestPackedTypes",
}
OTLP = {
    "events": "opentelemetry.proto.logs.v1.LogsData",
    "logs": "opentelemetry.proto.logs.v1.LogsData",
    "metrics": "opentelemetry.proto.metrics.v1.MetricsData",
    "trace": "opentelemetry.proto.trace.v1.TracesData",
}
BENCHMARKS = ["google_message1/proto2", "google_message1/proto3", "google_message2"]
DESCRIPTOR_SETS = ["google_benchmarks", "gtfs_realtime", "osm", "otlp", "pprof"]
OSM = ["GranFileBlock1-deflate.osm.pbf", "GranFileBlock1-none.osm.pbf", "SimpleFileBlock1-deflate.osm.pbf",
       "SimpleFileBlock1-none.osm.pbf", "sample.pbf"]  # fmt: skip

FEEDS_APART = 12  # of 35, which are all alike

NAMES = ["golden", "benchmarks", "gtfs", "osm", "otlp", "pprof", "descriptors"]
"""The corpora, for `messages`."""

Sample = tuple[World, str, bytes]
"""A schema, the full name of a message of it, and the bytes of one."""


def content(path: str) -> bytes:
    """The bytes of a file of the data, unpacked."""
    data = datasets.require(f"protobuf/{path}").read_bytes()
    unpack: Any = {".xz": lzma.decompress, ".gz": gzip.decompress}.get(path[-3:], bytes)
    return unpack(data)  # type: ignore[no-any-return]


@cache
def world(path: str) -> World:
    return World(descriptor_pb2.FileDescriptorSet.FromString(content(path)))


def messages(corpus: str) -> Iterator[Sample]:
    """Each message of a corpus."""
    yield from {
        "golden": golden,
        "benchmarks": benchmarks,
        "gtfs": gtfs,
        "osm": osm,
        "otlp": otlp,
        "pprof": pprof,
        "descriptors": descriptors,
    }[corpus]()


def golden() -> Iterator[Sample]:
    for name, message in GOLDEN.items():
        yield world("golden/descriptors.binpb"), message, content(f"golden/testdata/{name}")


def benchmarks() -> Iterator[Sample]:
    schema = world("descriptor_sets/google_benchmarks.binpb")
    for folder in BENCHMARKS:
        file = f"dataset.{folder.replace('/', '_')}.pb"
        data = content(f"google_benchmarks/benchmarks/datasets/{folder}/{file}")
        dataset = schema.google("benchmarks.BenchmarkDataset").FromString(data)
        yield schema, "benchmarks.BenchmarkDataset", data
        for payload in dataset.payload:
            yield schema, dataset.message_name, payload


def gtfs() -> Iterator[Sample]:
    """Feeds, and of each some entities on their own."""
    schema = world("descriptor_sets/gtfs_realtime.binpb")
    feed = schema.google("transit_realtime.FeedMessage")
    with tarfile.open(datasets.require("protobuf/gtfs_realtime/nyct_feeds.tar.xz")) as feeds:
        for member in feeds.getmembers()[::FEEDS_APART]:
            if (file := feeds.extractfile(member)) is not None:
                data = file.read()
                yield schema, "transit_realtime.FeedMessage", data
                for each in feed.FromString(data).entity[:5]:
                    yield schema, "transit_realtime.FeedEntity", each.SerializeToString()


def osm() -> Iterator[Sample]:
    """Headers and blobs in turn, each header behind its length; what is in a blob is a message again."""
    schema = world("descriptor_sets/osm.binpb")
    for name in OSM:
        data, at = content(f"osm/{name}"), 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            header = data[at + 4 : at + 4 + size]
            yield schema, "OSMPBF.BlobHeader", header
            told = schema.google("OSMPBF.BlobHeader").FromString(header)
            at += 4 + size + told.datasize
            yield schema, "OSMPBF.Blob", data[at - told.datasize : at]
            blob = schema.google("OSMPBF.Blob").FromString(data[at - told.datasize : at])
            inner = "HeaderBlock" if told.type == "OSMHeader" else "PrimitiveBlock"
            yield schema, f"OSMPBF.{inner}", blob.raw or zlib.decompress(blob.zlib_data)


def otlp() -> Iterator[Sample]:
    for name, message in OTLP.items():
        yield world("descriptor_sets/otlp.binpb"), message, content(f"otlp/examples/{name}.binpb")


def pprof() -> Iterator[Sample]:
    yield (
        world("descriptor_sets/pprof.binpb"),
        "perftools.profiles.Profile",
        content("pprof/sample.cpu.pb.gz"),
    )


def descriptors() -> Iterator[Sample]:
    file = descriptor_pb2.FileDescriptorProto()
    descriptor_pb2.DESCRIPTOR.CopyToProto(file)
    schema = World.of(file)
    for name in DESCRIPTOR_SETS:
        yield schema, "google.protobuf.FileDescriptorSet", content(f"descriptor_sets/{name}.binpb")
