from collections.abc import Iterable, Sequence
from typing import Any, Self

from numpy.typing import NDArray
from typing_extensions import disjoint_base

from penstock.protobuf._varint_py import Bytes
from penstock.protobuf.declaration import MessageMeta
from penstock.protobuf.methods import MessageMethods
from penstock.protobuf.options import DecodeOptions

__all__ = ["Message"]

@disjoint_base
class _Message:
    def __init__(self, /, **fields: Any) -> None: ...
    @property
    def unknown_fields(self) -> bytes: ...
    def to_bytes(self, *, deterministic: bool = False) -> bytes: ...
    @classmethod
    def from_bytes(cls, data: Bytes, options: DecodeOptions | None = None, /) -> Self: ...
    def merge_from(self, other: Self | Bytes, options: DecodeOptions | None = None, /) -> None: ...
    def byte_size(self) -> int: ...
    @classmethod
    def encode_many(cls, messages: Iterable[Self], /) -> tuple[bytes, NDArray[Any]]: ...
    @classmethod
    def decode_many(
        cls,
        data: Bytes | Sequence[Bytes],
        offsets: NDArray[Any] | None = None,
        options: DecodeOptions | None = None,
        /,
    ) -> list[Self]: ...
    def copy(self) -> Self: ...
    def __eq__(self, value: object, /) -> bool: ...
    __hash__ = None  # type: ignore[assignment]

class Message(_Message, MessageMethods, metaclass=MessageMeta): ...
