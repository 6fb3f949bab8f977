"""The program that the official conformance suite tests: it reads and writes what the suite asks for.

usage: conformance_testee.py PROTOS          PROTOS: the folder of the suite's own .proto files

Requests come on standard input and responses leave on standard output, each behind its length in four
little-endian bytes, until the input ends. PENSTOCK_IMPL chooses the twin.
Source: conformance/conformance.proto of protobuf.
"""

import sys
from pathlib import Path
from typing import Any, BinaryIO

from penstock.protobuf.compiler.files import compile_files
from penstock.protobuf.errors import DecodeError, EncodeError
from penstock.protobuf.schema.schema import Schema, build

SKIPPED = {"jspb_payload": "JSPB", "text_payload": "text format"}
FILES = [
    "conformance/conformance.proto",
    "google/protobuf/test_messages_edition2023.proto",
    "google/protobuf/test_messages_proto2.proto",
    "google/protobuf/test_messages_proto2_editions.proto",
    "google/protobuf/test_messages_proto3.proto",
    "google/protobuf/test_messages_proto3_editions.proto",
]


def suite_schema(folder: Path) -> Schema:
    return build(compile_files([folder / each for each in FILES], include=[folder]))


def answer(schema: Schema, request: Any) -> Any:
    """The ConformanceResponse to a ConformanceRequest."""
    if request.message_type == "conformance.FailureSet":  # asked first: which tests are known to fail
        return result(schema, protobuf_payload=b"")
    payload = request.which_oneof("payload")
    if payload in SKIPPED:
        return result(schema, skipped=f"penstock reads no {SKIPPED[payload]}")
    try:
        message = parsed(schema, request, payload)
    except DecodeError as error:
        return result(schema, parse_error=str(error))
    return written(schema, request, message)


def parsed(schema: Schema, request: Any, payload: str | None) -> Any:
    cls = schema[request.message_type]
    if payload == "json_payload":
        ignore_unknown = request.test_category.name == "JSON_IGNORE_UNKNOWN_PARSING_TEST"
        return cls.from_json(request.json_payload, ignore_unknown=ignore_unknown, types=schema)
    return cls.from_bytes(request.protobuf_payload)


def written(schema: Schema, request: Any, message: Any) -> Any:
    wanted = request.requested_output_format.name
    try:
        if wanted == "PROTOBUF":
            return result(schema, protobuf_payload=message.to_bytes())
        if wanted == "JSON":
            return result(schema, json_payload=message.to_json(types=schema))
    except EncodeError as error:
        return result(schema, serialize_error=str(error))
    return result(schema, skipped=f"penstock writes no {wanted}")


def result(schema: Schema, **fields: Any) -> Any:
    return schema["conformance.ConformanceResponse"](**fields)


def serve(schema: Schema, requests: BinaryIO, responses: BinaryIO) -> None:
    read = schema["conformance.ConformanceRequest"].from_bytes
    while size := requests.read(4):
        response = answer(schema, read(requests.read(int.from_bytes(size, "little")))).to_bytes()
        responses.write(len(response).to_bytes(4, "little") + response)
        responses.flush()


if __name__ == "__main__":
    serve(suite_schema(Path(sys.argv[1])), sys.stdin.buffer, sys.stdout.buffer)
