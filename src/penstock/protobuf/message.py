"""Messages: typed, slotted Python objects that read and write protobuf."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["Message"]

if TYPE_CHECKING:
    from penstock.protobuf._message_py import Message
else:
    Message = twin(__name__).Message
