"""Google's own compiler of `.proto` texts, as an oracle."""

import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

GOOGLE = Path(grpc_tools.__file__).parent / "_proto"


def descriptor_set(files: dict[str, str], *, comments: bool = False) -> bytes:
    """The descriptor set of some texts, with all that they import.

    Args:
        files: name -> text.
        comments: whether to keep them, as SourceCodeInfo.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        out = Path(folder, "set.binpb")
        flags = ["--include_imports", *(["--include_source_info"] if comments else [])]
        code = protoc.main(["", f"-I{folder}", f"-I{GOOGLE}", f"--descriptor_set_out={out}", *flags, *files])
        assert code == 0, "protoc refuses the schema of a test"
        return out.read_bytes()
