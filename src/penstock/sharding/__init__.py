"""Sharding: more than one database for the same kind of entries, by ranges of keys or by their hash.

What needs PostgreSQL, `penstock.sharding.postgres_shard`, is imported by its full name.
"""

from penstock.sharding._bucket_migration import MigrationProgress, TooManyWrites, UnexpectedRows
from penstock.sharding.buckets import (
    BucketMap,
    BucketMove,
    InvalidBucketMap,
    InvalidPlan,
    MigrationPlan,
    StalePlan,
    UnknownShard,
)
from penstock.sharding.cursor import InvalidCursor
from penstock.sharding.dict_shard import DictShard
from penstock.sharding.distribution import (
    DistributionReport,
    ShardLoad,
    chi_square_p_value,
    distribution_report,
)
from penstock.sharding.hash_shards import HashShards
from penstock.sharding.range_shards import Migration, RangeShards
from penstock.sharding.scan import Scan
from penstock.sharding.scatter_gather import Gathered, ShardsFailed, ShardTimeout, scatter_gather
from penstock.sharding.shard import (
    MigrationFailed,
    MigrationInProgress,
    NoShard,
    Shard,
    ShardClosed,
    ShardError,
    rows,
)
from penstock.sharding.shard_map import Range, ShardMap
from penstock.sharding.sqlite_shard import SQLiteShard
from penstock.sharding.traffic import RangeTraffic, TrafficReport

__all__ = [
    "BucketMap",
    "BucketMove",
    "DictShard",
    "DistributionReport",
    "Gathered",
    "HashShards",
    "InvalidBucketMap",
    "InvalidCursor",
    "InvalidPlan",
    "Migration",
    "MigrationFailed",
    "MigrationInProgress",
    "MigrationPlan",
    "MigrationProgress",
    "NoShard",
    "Range",
    "RangeShards",
    "RangeTraffic",
    "SQLiteShard",
    "Scan",
    "Shard",
    "ShardClosed",
    "ShardError",
    "ShardLoad",
    "ShardMap",
    "ShardTimeout",
    "ShardsFailed",
    "StalePlan",
    "TooManyWrites",
    "TrafficReport",
    "UnexpectedRows",
    "UnknownShard",
    "chi_square_p_value",
    "distribution_report",
    "rows",
    "scatter_gather",
]
