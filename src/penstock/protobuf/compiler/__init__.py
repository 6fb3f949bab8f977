"""The compiler: `.proto` text, of proto2, proto3 and editions, becomes descriptors.

    tokens.py          text to tokens, each with its place
    comments.py        which comment belongs to which declaration
    parser.py          tokens to a FileDescriptorProto, names as they stand there
    option_syntax.py   options, whose values are text of their own kind
    numbers.py         numbers as protobuf writes them
    places.py          where each declaration stood
    names.py           what a name means in the scope that it stands in
    options.py         options become bytes of the messages that declare them
    checks.py          the rules that protoc holds a file to
    linker.py          files that import each other become one set
    files.py           finds the imports; `compile_proto`
    google.binpb       what `import "google/protobuf/....proto"` finds

Source: https://protobuf.dev/reference/protobuf/edition-2023-spec, and those of proto2 and proto3.
"""

from penstock.protobuf.compiler.files import compile_files, compile_proto, compile_text
from penstock.protobuf.compiler.parser import parse_proto

__all__ = ["compile_files", "compile_proto", "compile_text", "parse_proto"]
