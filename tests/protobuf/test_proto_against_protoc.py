"""The parser of `.proto` texts against Google's own compiler."""

import lzma
import subprocess
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import grpc_tools
import pytest
from conformance_suite import LONGEST, program
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_tools import protoc
from hypothesis import given, settings
from hypothesis import strategies as st
from proto_schemas import ACCEPTED, REFUSED
from proto_text import printed
from random_schemas import random_file

from datasets import require
from penstock.protobuf.compiler.files import compile_files, compile_text
from penstock.protobuf.errors import SchemaError

GOOGLE = Path(grpc_tools.__file__).parent / "_proto"
SITE = Path(grpc_tools.__file__).parents[
    1
]  # googleapis-common-protos puts its files there, as google/api/...


def compiled(names: list[str], roots: list[Path]) -> bytes | None:
    """The descriptor set that protoc makes of files, None if it refuses them."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "set.binpb")
        flags = [
            "--include_imports",
            "--include_source_info",
            "--retain_options",
            f"--descriptor_set_out={out}",
        ]
        code = protoc.main(["protoc", *(f"-I{root}" for root in roots), *flags, *names])
        return out.read_bytes() if code == 0 else None


def compiled_text(text: str) -> bytes | None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "input.proto").write_text(text)
        return compiled(["input.proto"], [Path(folder), GOOGLE])


def descriptors(theirs: bytes, *both: bytes) -> list[Any]:
    """Descriptor sets as Google's messages, with each custom option as the extension that it is."""
    files = descriptor_pb2.FileDescriptorSet.FromString(theirs).file
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in files:
            pool.Add(file)
        found = pool.FindMessageTypeByName("google.protobuf.FileDescriptorSet")
        message_factory.GetMessageClassesForFiles([file.name for file in files], pool)  # registers extensions
        cls = message_factory.GetMessageClass(found)
    except (
        KeyError,
        TypeError,
    ):  # no descriptor.proto, no custom options; or Python takes less than protoc
        cls = descriptor_pb2.FileDescriptorSet
    return [cls.FromString(each) for each in both]


def assert_same(theirs: bytes, ours: bytes) -> None:
    """Every field of every descriptor is the same, but for the places of what is less than a declaration."""
    expected, got = descriptors(theirs, theirs, ours)
    assert [file.name for file in got.file] == [file.name for file in expected.file]
    for want, file in zip(expected.file, got.file, strict=True):
        if file.HasField("source_code_info"):  # what is bundled has none
            assert_same_comments(want, file)
        want.ClearField("source_code_info")
        file.ClearField("source_code_info")
        assert str(file) == str(want)  # NaN is not equal to itself, and its text is


def assert_same_comments(expected: Any, got: Any) -> None:
    theirs = [each.SerializeToString() for each in expected.source_code_info.location]
    differing = [each for each in got.source_code_info.location if each.SerializeToString() not in theirs]
    assert differing == []
    commented = [
        each
        for each in expected.source_code_info.location
        if each.leading_comments and not is_option(tuple(each.path))
    ]
    ours = {tuple(each.path) for each in got.source_code_info.location}
    assert [each for each in commented if tuple(each.path) not in ours] == []


def is_option(path: tuple[int, ...]) -> bool:
    """Whether it is the path of an option or a part of one, where comments are not kept."""
    around: Any = descriptor_pb2.FileDescriptorProto.DESCRIPTOR
    parts = iter(path)
    for number in parts:
        field = around.fields_by_number[number]
        if field.name == "options":
            return True
        if field.is_repeated:
            next(parts, None)  # its index
        around = field.message_type
    return False


@pytest.mark.parametrize(
    ("folder", "roots", "count"),
    [(GOOGLE / "google", [GOOGLE], 15), (SITE / "google", [SITE, GOOGLE], 60)],
    ids=["what comes with protoc", "googleapis-common-protos"],
)
def test_real_files_give_the_descriptors_that_protoc_gives(folder, roots, count):
    paths = sorted(folder.rglob("*.proto"))
    assert len(paths) >= count
    theirs = compiled([str(path) for path in paths], roots)
    assert theirs is not None
    assert_same(theirs, compile_files(paths, roots).to_bytes())


@pytest.mark.data
def test_all_of_googleapis_gives_the_descriptors_that_protoc_gives(tmp_path):
    data = lzma.decompress(require("protobuf/descriptor_sets/googleapis.binpb.xz").read_bytes())
    paths = []
    for file in without_extensions(data).file:
        if not file.name.startswith("google/protobuf/"):  # is bundled, and printed without its custom options
            path = tmp_path / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(printed(file))
            paths.append(path)
    assert len(paths) > 290
    theirs = compiled([str(path) for path in paths], [tmp_path, GOOGLE])
    assert theirs is not None
    assert_same(theirs, compile_files(paths, [tmp_path]).to_bytes())


def without_extensions(data: bytes) -> Any:
    """A descriptor set without custom options, wherever their extensions are known."""
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(descriptor_pb2.DESCRIPTOR.serialized_pb)
    found = pool.FindMessageTypeByName("google.protobuf.FileDescriptorSet")
    files = message_factory.GetMessageClass(found).FromString(data)
    files.DiscardUnknownFields()
    return files


@pytest.mark.data
def test_the_conformance_suite_s_files_give_the_descriptors_that_protoc_gives(tmp_path):
    if not program().exists():
        pytest.skip("no conformance suite: set PENSTOCK_CONFORMANCE, or use ../shared/tools")
    subprocess.run([program(), "--protos", tmp_path], check=True, timeout=LONGEST)
    paths = sorted(tmp_path.rglob("*.proto"))
    assert paths
    theirs = compiled([str(path) for path in paths], [tmp_path, GOOGLE])
    assert theirs is not None
    assert_same(theirs, compile_files(paths, [tmp_path]).to_bytes())


def test_all_that_protoc_accepts_gives_the_same_descriptors():
    for text in ACCEPTED:
        theirs = compiled_text(text)
        assert theirs is not None, text
        assert_same(theirs, compile_text(text).to_bytes())


def test_protoc_refuses_what_is_refused_here():
    assert [text for text in REFUSED if compiled_text(text) is not None] == []


@pytest.mark.parametrize(("text", "reason"), REFUSED.items(), ids=range(len(REFUSED)))
def test_what_breaks_a_rule_is_refused_with_its_place(text, reason):
    with pytest.raises(SchemaError) as refused:
        compile_text(text)
    assert str(refused.value) == f"input.proto:{reason}"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32).map(Random).map(random_file))
def test_random_schemas_give_the_descriptors_that_protoc_gives(file):
    text = printed(file)
    theirs = compiled_text(text)
    assert theirs is not None, text
    assert_same(theirs, compile_text(text).to_bytes())


GAPS = st.lists(
    st.sampled_from(["// one\n", "/* two */", " ", "\n", "\n\n", "// three\n", "/* four\n * five\n */"]),
    max_size=5,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.tuples(*[GAPS] * 7))
def test_comments_belong_to_the_declarations_that_protoc_gives_them_to(gaps):
    words = [
        'syntax = "proto2";',
        "message A {",
        "optional int32 a = 1;",
        "optional int32 b = 2;",
        "}",
        "message B {}",
    ]
    text = "".join(gap + word for gap, word in zip(gaps, [*words, ""], strict=True))
    theirs = compiled_text(text)
    assert theirs is not None
    assert_same(theirs, compile_text(text).to_bytes())
