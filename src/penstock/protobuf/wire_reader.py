"""Wire reader: the records of a protobuf message without its schema."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["WireReader"]

if TYPE_CHECKING:
    from penstock.protobuf._wire_reader_py import WireReader
else:
    WireReader = twin(__name__).WireReader
