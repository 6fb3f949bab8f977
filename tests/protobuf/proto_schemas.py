"""Small schemas, each with one thing that protoc accepts, or one that it refuses.

accepted_schemas.txt has one a line, after the word that stands for its first statement. In
refused_schemas.txt the line below tells where and why.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
FIRST_STATEMENT = {
    "none": "",
    "proto2": 'syntax = "proto2"; ',
    "proto3": 'syntax = "proto3"; ',
    "2023": 'edition = "2023"; ',
    "2024": 'edition = "2024"; ',
}


def schema(line: str) -> str:
    word, _, text = line.partition(" ")
    return FIRST_STATEMENT[word] + text.rstrip("\n")


def lines(name: str) -> list[str]:
    return (FOLDER / name).read_text().splitlines()


ACCEPTED = [schema(line) for line in lines("accepted_schemas.txt")]
REFUSED = {
    schema(line): error.removeprefix("    ")
    for line, error in zip(*[iter(lines("refused_schemas.txt"))] * 2, strict=True)
}
"""Schema -> line, column and reason."""
