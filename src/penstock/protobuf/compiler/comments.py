"""The comments of a `.proto` text, and the declarations that they belong to.

Source: protobuf, SourceCodeInfo.Location in descriptor.proto, which says which comment is whose.
"""

from __future__ import annotations

import re
from typing import Final

from penstock.protobuf.compiler.tokens import Tokens
from penstock.protobuf.schema.descriptor_proto import SourceCodeInfo

__all__ = ["Comments"]

Path = tuple[int, ...]
"""Field numbers and indices from FileDescriptorProto down to what was declared."""

PIECE: Final = re.compile(r"\n|//[^\n]*+\n?|/\*(?:[^*]|\*(?!/))*+\*/")
MARGIN: Final = re.compile(r"\n[ \t\r\v\f]*+\*?")
CLOSING: Final = ("}", "]", ")", "")


class Comments:
    """Collects the places of declarations and the comments about them, while a parser reads them.

    Only what ends a declaration (`;`, `{` and `}`) has comments around it; those within are dropped.
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.locations: list[SourceCodeInfo.Location] = []
        self.upcoming = between(tokens, first=True)

    def begin(self, path: Path) -> SourceCodeInfo.Location:
        """The location of a declaration that begins with the current token."""
        line, column = self.tokens.source.position(self.tokens.start)
        location = SourceCodeInfo.Location(path=list(path), span=[line, column])
        self.locations.append(location)
        return location

    def end_header(self, location: SourceCodeInfo.Location | None) -> None:
        """Goes past the `;` or `{` of a declaration and gives it its comments."""
        own = self.upcoming
        self.tokens.advance()
        self.upcoming = between(self.tokens)
        if location is None:
            self.upcoming.detached[:0] = own.detached
            return
        location.leading_comments = own.leading or None  # protoc takes no note of an empty one
        location.leading_detached_comments = own.detached
        location.trailing_comments = self.upcoming.trailing or None

    def end_scope(self) -> None:
        """Goes past a `}`."""
        self.tokens.advance()
        self.upcoming = between(self.tokens)

    def end(self, location: SourceCodeInfo.Location) -> None:
        """Closes the span of a declaration after the last token that was passed."""
        line, column = self.tokens.source.position(self.tokens.before)
        first_line, first_column = location.span
        location.span = [first_line, first_column, column]
        if line != first_line:
            location.span.insert(2, line)


class Between:
    """The comments between two tokens, given to them block by block.

    Attributes:
        trailing: about the token before: on its line, or on the lines below and set off from what follows.
        detached: about neither.
        leading: about the token after: right above it.
    """

    __slots__ = ("attachable", "block", "detached", "is_lines", "leading", "trailing")

    def __init__(self, *, attachable: bool = True) -> None:
        self.trailing: str | None = None
        self.detached: list[str] = []
        self.leading: str | None = None
        self.block: str | None = None
        self.is_lines = False
        self.attachable = attachable  # whether the next whole block is about the token before

    def add(self, comment: str) -> None:
        """Takes one more comment; those of whole lines that follow each other are one block."""
        is_line = comment.startswith("//")
        comment = comment.encode(errors="replace").decode()  # what was no UTF-8 in the file becomes ?
        if not (is_line and self.is_lines):
            self.flush()
        self.block = (self.block or "") + (comment[2:] if is_line else MARGIN.sub("\n", comment[2:-2]))
        self.is_lines = is_line

    def flush(self) -> None:
        """Ends a block that is not about the token after."""
        if self.block is not None:
            if self.attachable:
                self.trailing = self.block
            else:
                self.detached.append(self.block)
            self.attachable = False
        self.block, self.is_lines = None, False

    def detach(self) -> None:
        """Gives a single comment to neither token, as it could be about both."""
        if len(self.detached) + (self.trailing is not None) + (self.block is not None) == 1:
            if self.trailing is not None:
                self.detached.append(self.trailing)
            self.trailing = None
            self.flush()


def between(tokens: Tokens, *, first: bool = False) -> Between:
    """The comments before the current token, told apart by the lines that they stand on.

    Args:
        tokens: a cursor.
        first: whether no token is before.
    """
    found = Between(attachable=not first)
    gap = tokens.source.text[tokens.before : tokens.start]
    if "/" not in gap:
        return found
    pieces = PIECE.findall(gap)
    shares_line = not first and shares_its_line(gap, pieces[0])
    if not first and pieces[0] != "\n":  # a comment on the line of the token before is about that one
        found.add(pieces[0])
        found.flush()
    whole_line = True  # whether a line break here ends a line with nothing on it
    for piece in pieces if first else pieces[1:]:
        if piece != "\n":
            found.add(piece)
        elif whole_line:
            found.flush()
            found.attachable = False
        whole_line = piece.endswith("\n")
    if tokens.text in CLOSING:
        found.flush()
    if shares_line and tokens.text:
        found.detach()
    found.leading = found.block
    return found


def shares_its_line(gap: str, comment: str) -> bool:
    """Whether a block comment begins on the line of the token before, and ends on that of the token after."""
    return comment.startswith("/*") and "\n" not in gap[gap.index(comment) + len(comment) :]
