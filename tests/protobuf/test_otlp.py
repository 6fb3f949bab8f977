"""OTLP's messages, and that they are those of the official schemas."""

import subprocess
import sys
from pathlib import Path

import pytest
from comparable import comparable
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

import penstock.protobuf
from datasets import require
from penstock.protobuf import otlp
from penstock.protobuf.declaration import describe
from penstock.protobuf.enums import Enum
from penstock.protobuf.schema.schema import load_descriptor_set

ROOT = Path(__file__).parents[2]
ROOM = Path(penstock.protobuf.__file__).parent

GENERATED = ["schema/descriptor_proto.py", "well_known/types.py"]
GENERATED += [
    f"otlp/{name}.py"
    for name in (
        "common",
        "logs",
        "logs_service",
        "metrics",
        "metrics_service",
        "resource",
        "trace",
        "trace_service",
    )
]


def text(value):
    return otlp.AnyValue(string_value=value)


def test_a_request_with_logs_is_one_for_opentelemetry():
    record = otlp.LogRecord(
        time_unix_nano=1_700_000_000_000_000_001,
        severity_number=otlp.SeverityNumber.SEVERITY_NUMBER_ERROR,
        body=text("no route to host"),
        attributes=[otlp.KeyValue(key="attempt", value=otlp.AnyValue(int_value=3))],
        trace_id=bytes(range(16)),
    )
    resource = otlp.Resource(attributes=[otlp.KeyValue(key="service.name", value=text("pinger"))])
    request = otlp.ExportLogsServiceRequest(
        resource_logs=[
            otlp.ResourceLogs(resource=resource, scope_logs=[otlp.ScopeLogs(log_records=[record])])
        ]
    )
    theirs = logs_service_pb2.ExportLogsServiceRequest.FromString(request.to_bytes())
    assert theirs.resource_logs[0].scope_logs[0].log_records[0].body.string_value == "no route to host"
    assert theirs.resource_logs[0].resource.attributes[0].value.string_value == "pinger"
    assert theirs.SerializeToString() == request.to_bytes()
    assert otlp.ExportLogsServiceRequest.from_bytes(request.to_bytes()) == request


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [
        ("trace", otlp.TracesData, trace_pb2.TracesData),
        ("metrics", otlp.MetricsData, metrics_pb2.MetricsData),
    ],
)
def test_the_examples_of_opentelemetry_are_read_as_by_opentelemetry(name, ours, theirs):
    data = require(f"protobuf/otlp/examples/{name}.binpb").read_bytes()
    message = ours.from_bytes(data)
    assert message.to_bytes() == data == theirs.FromString(data).SerializeToString()
    assert not message.unknown_fields


@pytest.mark.data
def test_the_classes_are_those_of_the_official_descriptor_set():
    schema = load_descriptor_set(require("protobuf/descriptor_sets/otlp.binpb"))
    for name in otlp.__all__:
        cls = getattr(otlp, name)
        full_name = cls.__full_name__ if issubclass(cls, Enum) else describe(cls).full_name
        assert comparable(cls) == comparable(schema[full_name])


def test_generated_modules_are_what_the_generator_makes_of_the_official_schemas(tmp_path):
    """A release of a schema, or a change of the generator, is followed by scripts/generate-protobuf."""
    subprocess.run([sys.executable, ROOT / "scripts" / "generate-protobuf", tmp_path], check=True)
    made = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.py")}
    assert sorted(made) == sorted(GENERATED)
    for name, source in made.items():
        assert source == (ROOM / name).read_text(), f"{name} is not what scripts/generate-protobuf makes"


def test_importing_penstock_protobuf_imports_no_otlp():
    code = "import sys, penstock.protobuf; print({'numpy', 'penstock.protobuf.otlp'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
