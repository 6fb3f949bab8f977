"""Jump hash: which of so many numbered buckets gets a key, without any memory."""

from typing import TYPE_CHECKING

from penstock._twins import twin

__all__ = ["jump_hash", "jump_hash_many"]

if TYPE_CHECKING:
    from penstock.hashring._jump_py import jump_hash, jump_hash_many
else:
    jump_hash = twin(__name__).jump_hash
    jump_hash_many = twin(__name__).jump_hash_many
