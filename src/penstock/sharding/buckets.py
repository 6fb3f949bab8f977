"""Which shard holds which bucket of keys, and the plan that takes one such map to another."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from penstock.errors import InvalidType, InvalidValue, PenstockError
from penstock.sharding._arguments import checked_number, checked_whole
from penstock.sharding._ids import ShardId, checked_id, table_id
from penstock.sharding.keys import shown

__all__ = [
    "MAX_BUCKETS",
    "BucketMap",
    "BucketMove",
    "InvalidBucketMap",
    "InvalidPlan",
    "MigrationPlan",
    "StalePlan",
    "UnknownShard",
]

MAX_BUCKETS = 1 << 20
MAX_BYTES = 1 << 28  # of a map or plan in its bytes form: more than either can have
MAX_WEIGHT = 1e6
VERSION = 1
TABLE_ID_WIDTH = 18

T = TypeVar("T")


class UnknownShard(PenstockError, LookupError):
    """No shard has that id."""


class InvalidBucketMap(InvalidValue):
    """The bytes are no bucket map, one of another version, or damaged."""


class InvalidPlan(InvalidValue):
    """The bytes are no migration plan, one of another version, or damaged."""


class StalePlan(InvalidValue):
    """A migration plan does not fit the bucket map: it was made for another one."""


class BucketMove(NamedTuple):
    """One bucket that changes its shard."""

    bucket: int
    source: ShardId
    target: ShardId


@dataclass(frozen=True, slots=True)
class BucketMap:
    """The shard of each bucket; immutable, compared by content.

    Keep its bytes where all that use the shards find them: keys are lost to sight if a map is forgotten
    that a migration has changed. `HashShards(save_map=...)` is given each new one.

    Args:
        owners: the id of the shard that holds each bucket, from bucket 0 on; 1 to 2**20 of them.
        shards: the ids of all shards, in their order; those without buckets too. None for those that
            come up in `owners`, in the order in which they do.
        hash: the name of the hash that `penstock.hashring.KeyHash` knows; None for a callable of your own.
        seed: of the hash.
        epoch: how many changes came before; a map with a larger one is newer.

    Raises:
        ValueError: there is no bucket or too many, an id comes twice, is not allowed or not among `shards`,
            or seed or epoch is not a whole number of at most 64 bits.
        TypeError: an argument has the wrong type.
    """

    owners: tuple[ShardId, ...]
    shards: tuple[ShardId, ...] = None  # type: ignore[assignment]  # __post_init__ fills it in
    hash: str | None = "xxh3_64"
    seed: int = 0
    epoch: int = 0

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "owners", tuple(self.owners))
        checked_whole("buckets", len(self.owners), 1, MAX_BUCKETS)
        set_field(
            self, "shards", checked_ids(dict.fromkeys(self.owners) if self.shards is None else self.shards)
        )
        unknown = set(self.owners).difference(self.shards)
        if unknown:
            raise UnknownShard(f"owners must be among the shards, got {shown(next(iter(unknown)))}")
        if self.hash is not None and not isinstance(self.hash, str):
            raise InvalidType(f"hash must be a name or None, got {type(self.hash).__name__}")
        checked_whole("seed", self.seed, 0, 2**64 - 1)
        checked_whole("epoch", self.epoch, 0, 2**63 - 1)

    @classmethod
    def even(
        cls,
        shards: Iterable[ShardId],
        buckets: int,
        *,
        weights: Mapping[ShardId, float] | None = None,
        hash: str | None = "xxh3_64",
        seed: int = 0,
    ) -> Self:
        """Buckets dealt out in turn: as many shards as buckets make plain modulo.

        Args:
            shards: their ids.
            buckets: how many there shall be, at least one for each shard.
            weights: how much each shard takes relative to the others, > 0; 1.0 where it is not named.
            hash: as above.
            seed: as above.

        Raises:
            ValueError: an argument is out of its range.
            TypeError: an argument has the wrong type.
        """
        ids = checked_ids(shards)
        checked_whole("buckets", buckets, len(ids), MAX_BUCKETS)
        dealt = cls(tuple(ids[bucket % len(ids)] for bucket in range(buckets)), ids, hash, seed)
        if weights is None:
            return dealt
        weighted = dealt.after(dealt.plan(ids, weights).moves)
        return cls(weighted.owners, ids, hash, seed)

    def __repr__(self) -> str:
        return (
            f"BucketMap({len(self.owners)} buckets, shards={shown(list(self.shards))}, hash={self.hash!r}, "
            f"seed={self.seed}, epoch={self.epoch})"
        )

    def counts(self) -> dict[ShardId, int]:
        """How many buckets each shard holds."""
        counts = Counter(self.owners)
        return {shard: counts[shard] for shard in self.shards}

    def plan(
        self, shards: Iterable[ShardId], weights: Mapping[ShardId, float] | None = None
    ) -> "MigrationPlan":
        """The fewest moves after which `shards` hold all buckets, each its share to within one bucket.

        Args:
            shards: the ids of those that shall hold buckets; the others are emptied.
            weights: how much each takes relative to the others, > 0; 1.0 where it is not named.

        Raises:
            ValueError: there are no shards or more than buckets, an id comes twice, or a weight is not
                > 0 and <= 1e6.
            TypeError: an id or weight has the wrong type.
        """
        ids = checked_ids(shards)
        if len(ids) > len(self.owners):
            raise InvalidValue(f"shards must be <= {len(self.owners)} buckets, got {len(ids)}")
        held = Counter(self.owners)
        quotas = fair_quotas(ids, checked_weights(ids, weights), len(self.owners), held)
        surplus = {shard: count - quotas.get(shard, 0) for shard, count in held.items()}
        missing = [shard for shard in ids for _ in range(quotas[shard] - held[shard])]
        moves = []
        for bucket in range(len(self.owners) - 1, -1, -1):  # the highest buckets of each shard go
            source = self.owners[bucket]
            if surplus[source] > 0:
                surplus[source] -= 1
                moves.append((bucket, source))
        return MigrationPlan(
            moves=tuple(
                BucketMove(bucket, source, target)
                for (bucket, source), target in zip(reversed(moves), missing, strict=True)
            ),
            shards=ids,
            buckets=len(self.owners),
            hash=self.hash,
            seed=self.seed,
            epoch=self.epoch,
        )

    def after(self, moves: Iterable[BucketMove]) -> Self:
        """The map with these moves done, one epoch on."""
        owners = list(self.owners)
        for move in moves:
            owners[move.bucket] = move.target
        shards = tuple(dict.fromkeys((*self.shards, *owners)))
        return type(self)(tuple(owners), shards, self.hash, self.seed, self.epoch + 1)

    def with_shards(self, shards: Iterable[ShardId]) -> Self:
        """The map of the same buckets over these shards, in this order."""
        return type(self)(self.owners, tuple(shards), self.hash, self.seed, self.epoch)

    def to_bytes(self) -> bytes:
        """JSON, with a version."""
        places = {shard: place for place, shard in enumerate(self.shards)}
        owners = [places[owner] for owner in self.owners]
        return msgspec.json.encode(MapDocument(self.hash, self.seed, self.epoch, list(self.shards), owners))

    @classmethod
    def from_bytes(cls, data: bytes, /) -> Self:
        """The map that `to_bytes` wrote.

        Raises:
            ValueError: the bytes are no bucket map, one of another version, or damaged.
        """
        document = decoded(data, MapDocument, InvalidBucketMap, "a bucket map")
        try:
            owners = tuple(document.shards[owner] for owner in document.owners if owner >= 0)
            if len(owners) == len(document.owners):
                return cls(owners, tuple(document.shards), document.hash, document.seed, document.epoch)
        except (IndexError, PenstockError) as error:
            raise InvalidBucketMap(f"a bucket map must be whole, got one in which {error}") from error
        raise InvalidBucketMap("a bucket map must be whole, got one with an owner < 0")


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """Which buckets go from which shard to which; `print` it for a table, `HashShards.migrate` does it."""

    moves: tuple[BucketMove, ...]
    """By bucket."""
    shards: tuple[ShardId, ...]
    """Those that hold all buckets afterwards."""
    buckets: int
    """How many there are in all."""
    hash: str | None
    seed: int
    epoch: int
    """Of the map that the plan was made for."""

    @property
    def share(self) -> float:
        """The part of all buckets that moves, 0 to 1: about the part of the keys."""
        return len(self.moves) / self.buckets

    def __len__(self) -> int:
        return len(self.moves)

    def __repr__(self) -> str:
        return f"MigrationPlan({len(self.moves)} of {self.buckets} buckets, to shards {shown(self.shards)})"

    def __str__(self) -> str:
        routes = defaultdict(list)
        for move in self.moves:
            routes[move.source, move.target].append(move.bucket)
        rows = [
            f"{table_id(source, TABLE_ID_WIDTH)} {table_id(target, TABLE_ID_WIDTH)} {len(buckets):>8,} "
            f"{len(buckets) / self.buckets:>7.2%}  {ranges_shown(buckets, 22)}"
            for (source, target), buckets in routes.items()
        ]
        total = f"{'total':<{2 * TABLE_ID_WIDTH + 1}} {len(self.moves):>8,} {self.share:>7.2%}"
        head = f"{'from':<{TABLE_ID_WIDTH}} {'to':<{TABLE_ID_WIDTH}} {'buckets':>8} {'share':>7}  which"
        return "\n".join([head, *rows, f"{total}  of {self.buckets:,}"])

    def left(self, current: BucketMap) -> tuple[BucketMove, ...]:
        """The moves that are not done yet.

        Args:
            current: the map as it is now.

        Raises:
            ValueError: the plan does not fit it: another hash, seed or number of buckets, or a bucket is
                neither where the plan takes it from nor where it takes it to.
        """
        for name, mine, theirs in (
            ("hash", self.hash, current.hash),
            ("seed", self.seed, current.seed),
            ("buckets", self.buckets, len(current.owners)),
        ):
            if mine != theirs:
                raise StalePlan(f"{name} of the plan must be {shown(theirs)}, got {shown(mine)}")
        for move in self.moves:
            owner = current.owners[move.bucket]
            if owner not in (move.source, move.target):
                raise StalePlan(
                    f"bucket {move.bucket} must be on shard {shown(move.source)} or {shown(move.target)}, "
                    f"got {shown(owner)}"
                )
        return tuple(move for move in self.moves if current.owners[move.bucket] == move.source)

    def to_bytes(self) -> bytes:
        """JSON, with a version."""
        sources = {move.source: None for move in self.moves}
        source_places = {shard: place for place, shard in enumerate(sources)}
        target_places = {shard: place for place, shard in enumerate(self.shards)}
        moves = [(move.bucket, source_places[move.source], target_places[move.target]) for move in self.moves]
        return msgspec.json.encode(
            PlanDocument(
                self.hash, self.seed, self.epoch, self.buckets, list(sources), list(self.shards), moves
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes, /) -> Self:
        """The plan that `to_bytes` wrote.

        Raises:
            ValueError: the bytes are no migration plan, one of another version, or damaged.
        """
        document = decoded(data, PlanDocument, InvalidPlan, "a migration plan")
        try:
            return cls(
                checked_moves(document),
                checked_ids(document.shards),
                document.buckets,
                document.hash,
                checked_whole("seed", document.seed, 0, 2**64 - 1),
                checked_whole("epoch", document.epoch, 0, 2**63 - 1),
            )
        except PenstockError as error:
            raise InvalidPlan(f"a migration plan must be whole, got one in which {error}") from error


# ---- shares ----


def checked_ids(shards: Iterable[object]) -> tuple[ShardId, ...]:
    """The ids of shards, at least one, none twice.

    Raises:
        ValueError: there is none, or one is not allowed or comes again.
        TypeError: one is neither a str nor an int.
    """
    if isinstance(shards, str) or not isinstance(shards, Iterable):
        raise InvalidType(f"shards must be an iterable of ids, got {type(shards).__name__}")
    ids: dict[ShardId, None] = {}
    for shard in shards:
        name = checked_id(shard)
        if name in ids:
            raise InvalidValue(f"id of a shard must be new, got {shown(name)} again")
        ids[name] = None
        if len(ids) > MAX_BUCKETS:
            raise InvalidValue(f"shards must be <= {MAX_BUCKETS}, got more")
    if not ids:
        raise InvalidValue("shards must be at least one, got none")
    return tuple(ids)


def checked_weights(
    ids: Sequence[ShardId], weights: Mapping[ShardId, float] | None
) -> dict[ShardId, Fraction]:
    """The weight of each id, exactly.

    Raises:
        ValueError: a weight is not > 0 and <= 1e6, or of a shard that is not there.
        TypeError: a weight is no number.
    """
    exact = dict.fromkeys(ids, Fraction(1))
    for shard, weight in (weights or {}).items():
        if shard not in exact:
            raise UnknownShard(f"weights must be of the shards, got one of {shown(shard)}")
        if not 0 < checked_number(f"weight of shard {shown(shard)}", weight) <= MAX_WEIGHT:  # NaN is not
            raise InvalidValue(
                f"weight of shard {shown(shard)} must be > 0 and <= {MAX_WEIGHT:g}, got {shown(weight)}"
            )
        exact[shard] = Fraction(weight)
    return exact


def fair_quotas(
    ids: Sequence[ShardId], weights: Mapping[ShardId, Fraction], buckets: int, held: Mapping[ShardId, int]
) -> dict[ShardId, int]:
    """Buckets for each shard: its exact share rounded down or up, so that the sum is right.

    Shards that hold more than their share rounded down are rounded up first: that saves a move each. Then
    those with the largest remainder, then the earlier ones.
    """
    whole = sum(weights.values())
    shares = {shard: weights[shard] * buckets / whole for shard in ids}
    quotas = {shard: int(share) for shard, share in shares.items()}
    fractional = [shard for shard in ids if shares[shard] != quotas[shard]]
    fractional.sort(
        key=lambda shard: (held.get(shard, 0) > quotas[shard], shares[shard] - quotas[shard]), reverse=True
    )
    for shard in fractional[: buckets - sum(quotas.values())]:
        quotas[shard] += 1
    return quotas


# ---- tables ----


def ranges_shown(numbers: Sequence[int], width: int) -> str:
    """`0-3, 7, 9-12, ...`: ascending numbers, and no more of them than fit."""
    text = ""
    for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        first, *others = [number for _, number in run]
        part = f"{first}-{others[-1]}" if others else str(first)
        longer = f"{text}, {part}" if text else part
        if len(longer) > width - len(", ..."):
            return f"{text}, ..." if text else part
        text = longer
    return text


# ---- bytes ----


class MapDocument(msgspec.Struct, tag="penstock bucket map", forbid_unknown_fields=True):
    """A bucket map in JSON."""

    hash: str | None
    seed: int
    epoch: int
    shards: list[ShardId]
    owners: list[int]
    version: int = VERSION


class PlanDocument(msgspec.Struct, tag="penstock migration plan", forbid_unknown_fields=True):
    """A migration plan in JSON."""

    hash: str | None
    seed: int
    epoch: int
    buckets: int
    sources: list[ShardId]
    shards: list[ShardId]
    moves: list[tuple[int, int, int]]  # a bucket, its place in sources, its place in shards
    version: int = VERSION


class AnyVersion(msgspec.Struct):
    """What a document of every version has."""

    version: int


def decoded(data: object, kind: Any, error: type[InvalidValue], what: str) -> Any:
    """The document of this kind.

    Raises:
        TypeError: data is no bytes.
        ValueError: they are no such document, or one of another version.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise InvalidType(f"data must be bytes, got {type(data).__name__}")
    if len(data) > MAX_BYTES:
        raise error(f"{what} must have <= {MAX_BYTES} bytes, got {len(data)}")
    try:
        version = msgspec.json.decode(data, type=AnyVersion).version
        if version != VERSION:
            raise error(f"{what} must be of version {VERSION}, got {shown(version)}")
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as wrong:
        raise error(f"{what} must be the JSON that to_bytes writes: {shown(str(wrong))}") from wrong


def checked_moves(document: PlanDocument) -> tuple[BucketMove, ...]:
    """The moves of a plan, by bucket.

    Raises:
        ValueError: a number is out of its range, a bucket comes twice, or a move goes nowhere.
    """
    checked_whole("buckets", document.buckets, 1, MAX_BUCKETS)
    sources = tuple(checked_id(shard) for shard in document.sources)
    moves = []
    least = 0
    for bucket, source, target in document.moves:
        checked_whole("bucket", bucket, least, document.buckets - 1)
        checked_whole("source", source, 0, len(sources) - 1)
        checked_whole("target", target, 0, len(document.shards) - 1)
        if sources[source] == document.shards[target]:
            raise InvalidPlan(f"bucket {bucket} must move to another shard, got {shown(sources[source])}")
        moves.append(BucketMove(bucket, sources[source], document.shards[target]))
        least = bucket + 1
    return tuple(moves)
