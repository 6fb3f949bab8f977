"""Where the shared spool is: the servers of NATS, and the names of what is ours there."""

from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["NOBODY", "Address", "Names", "parse_address", "token"]

DEFAULT_PREFIX = "penstock"
MAX_PREFIX = 32
NOBODY = "=nobody"
"""Stands for the analyzer of packets that nobody was there to take; no id has a `=`."""


class Address(NamedTuple):
    """What `nats://HOST:PORT,HOST:PORT/PREFIX` says."""

    servers: tuple[str, ...]
    prefix: str

    @property
    def public(self) -> str:
        """The servers without users and passwords, for everybody to see."""
        return ",".join(
            parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
            for parts in map(urlsplit, self.servers)
        )


def parse_address(text: str) -> Address:
    """Reads the address of a shared spool.

    Raises:
        ValueError: it is none.
    """
    scheme, separator, rest = text.partition("://")
    hosts, _, prefix = rest.partition("/")
    prefix = prefix.rstrip("/") or DEFAULT_PREFIX
    if not (scheme in ("nats", "tls") and separator and hosts and all(map(is_host, hosts.split(",")))):
        raise ValueError(f"spool must be nats://HOST:PORT or nats://HOST:PORT/PREFIX, got {text[:100]!r}")
    if not (
        len(prefix) <= MAX_PREFIX and prefix.isascii() and prefix.replace("_", "").replace("-", "").isalnum()
    ):
        raise ValueError(
            f"the prefix of spool must be up to {MAX_PREFIX} letters, digits, - and _, got {prefix[:100]!r}"
        )
    return Address(tuple(f"{scheme}://{host}" for host in hosts.split(",")), prefix)


def is_host(text: str) -> bool:
    """Whether it is HOST or HOST:PORT, with a user or without."""
    try:
        parts = urlsplit(f"nats://{text}")
        return bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def token(name: str) -> str:
    """The id of a group or an analyzer as a part of a subject, where dots separate."""
    return name.replace(".", "~")


class Names:
    """What streams, subjects and consumers are called.

    Args:
        prefix: what sets this spool apart from others on the same servers.
    """

    def __init__(self, prefix: str) -> None:
        self.packets = f"{prefix}_packets"
        self.retries = f"{prefix}_retries"
        self.dead = f"{prefix}_dead"
        self.nodes = f"{prefix}_nodes"
        self.nodes_stream = f"KV_{self.nodes}"
        self.commands = f"{prefix}_commands"
        self.commands_stream = f"KV_{self.commands}"
        self.packet_subjects = f"{prefix}.packets"
        self.retry_subjects = f"{prefix}.retries"
        self.letters = f"{prefix}.dead.letters"
        self.gone = f"{prefix}.dead.gone"

    def packets_of(self, group: str, owner: str | None) -> str:
        """The subject of an analyzer's packets."""
        return f"{self.packet_subjects}.{token(group)}.{NOBODY if owner is None else token(owner)}"

    def owner_of(self, subject: str) -> tuple[str, str | None]:
        """The group and the analyzer that such a subject is of."""
        _, _, group, owner = subject.split(".")
        return group.replace("~", "."), None if owner == NOBODY else owner.replace("~", ".")

    def retries_of(self, group: str) -> str:
        """The subject of packets of a group that are tried again."""
        return f"{self.retry_subjects}.{token(group)}"

    def node(self, name: str) -> str:
        """The subject under which a node's figures are kept."""
        return f"$KV.{self.nodes}.{token(name)}"

    def command(self, key: str) -> str:
        """The subject of a key of the commands."""
        return f"$KV.{self.commands}.{key}"

    @staticmethod
    def consumer_of(group: str, owner: str | None) -> str:
        """The consumer of an analyzer's packets."""
        return f"{token(group)}+{NOBODY if owner is None else token(owner)}"
