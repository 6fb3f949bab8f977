"""Ketama puts every key where libmemcached puts it: asked of libmemcached itself, and of real servers."""

import json
from contextlib import ExitStack

import pylibmc
import pytest
from ketama_model import ketama, ketama_weighted, one_at_a_time

import datasets
from memcached_server import MemcachedServer
from penstock.hashring import HashRing

KEYS = [f"key:{i}" for i in range(50_000)] + [f"clé:{i}" for i in range(50_000)]
SAMPLE = KEYS[::20]

Cluster = dict[str, int]  # server -> weight

BEHAVIORS = {  # our hash -> what libmemcached is told; a cluster with weights it takes for weighted always
    "ketama": {"ketama": True, "hash": "md5"},
    "ketama-weighted": {"ketama_weighted": True},
}
MODELS = {"ketama": ketama, "ketama-weighted": ketama_weighted}

EQUAL: dict[str, Cluster] = {  # nobody need listen there
    "one": {"10.0.0.1:11211": 1},
    "three": {"10.0.0.1:7000": 1, "10.0.0.2:7000": 1, "10.0.0.3:7000": 1},
    "some at the default port": {"10.0.0.3:11211": 1, "10.0.0.1:7000": 1, "cache.example:11211": 1},
    "a hundred": {f"10.0.0.{i}:11211": 1 for i in range(100)},
}
WEIGHTED: dict[str, Cluster] = {
    "three with weights": {"10.0.0.1:7000": 1, "10.0.0.2:7000": 2, "10.0.0.3:11211": 4},
    "one too light for a point": {"10.0.0.1:7000": 1, "10.0.0.2:7000": 999},
    "a hundred with weights": {f"10.0.0.{i}:7000": i % 7 + 1 for i in range(100)},
}
CASES = [("ketama", name) for name in EQUAL] + [("ketama-weighted", name) for name in EQUAL | WEIGHTED]


def libmemcached(cluster: Cluster, **behaviors: object) -> pylibmc.Client:
    """A client; it connects only when it is asked for a value."""
    return pylibmc.Client([f"{server}:{weight}" for server, weight in cluster.items()], behaviors=behaviors)


def placement(cluster: Cluster, keys: list[str], **behaviors: object) -> list[str]:
    """The server of each key, as libmemcached computes it."""
    client, servers = libmemcached(cluster, **behaviors), list(cluster)
    return [servers[client.hash(key)] for key in keys]


def held(server: str, value: str) -> set[str]:
    """The keys that a server has with that value.

    Asked for one after the other: a dump of all keys misses some that memcached moves meanwhile.
    """
    found = pylibmc.Client([server]).get_multi(KEYS)
    return {key for key, its_value in found.items() if its_value == value}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with ExitStack() as running:
        yield [running.enter_context(MemcachedServer(tmp_path_factory.mktemp("memcached"))) for _ in range(3)]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("mode", "weights"),
    [("ketama", (1, 1, 1)), ("ketama-weighted", (1, 1, 1)), ("ketama-weighted", (1, 2, 5))],
)
def test_100_000_keys_lie_on_the_servers_that_the_ring_names(servers, mode, weights):
    cluster = {server.address: weight for server, weight in zip(servers, weights, strict=True)}
    client = libmemcached(cluster, **BEHAVIORS[mode])
    value = f"{mode} {weights}"
    assert client.set_multi(dict.fromkeys(KEYS, value)) == []  # the keys that failed
    expected: dict[str, set[str]] = {address: set() for address in cluster}
    for key, node in zip(KEYS, HashRing(cluster, hash=mode).get_many(KEYS), strict=True):
        expected[node].add(key)
    assert {address: held(address, value) for address in cluster} == expected


@pytest.mark.parametrize(("mode", "name"), CASES)
def test_ring_model_and_libmemcached_agree_on_any_cluster(mode, name):
    cluster = (EQUAL | WEIGHTED)[name]
    chosen = placement(cluster, SAMPLE, **BEHAVIORS[mode])
    model = MODELS[mode](cluster)
    assert [model.server(key) for key in SAMPLE] == chosen
    assert HashRing(cluster, hash=mode).get_many(SAMPLE) == chosen


def test_they_agree_while_servers_come_and_go():
    cluster = dict(WEIGHTED["three with weights"])
    ring = HashRing(cluster, hash="ketama-weighted")
    for name, weight in [("10.0.0.9:11211", 3), ("10.0.0.4:7000", 1)]:
        cluster[name] = weight
        ring.add_node(name, weight)
        assert ring.get_many(SAMPLE) == placement(cluster, SAMPLE, ketama_weighted=True)
    for name in ("10.0.0.9:11211", "10.0.0.1:7000"):
        del cluster[name]
        ring.remove_node(name)
        assert ring.get_many(SAMPLE) == placement(cluster, SAMPLE, ketama_weighted=True)


def test_libmemcached_that_is_told_ketama_alone_hashes_otherwise():
    # Why BEHAVIORS names md5: the behavior sets the distribution only, and the hash stays Jenkins'.
    cluster = EQUAL["three"]
    chosen = placement(cluster, SAMPLE, ketama=True)
    jenkins = ketama(cluster, one_at_a_time)
    assert [jenkins.server(key) for key in SAMPLE] == chosen
    assert HashRing(cluster, hash="ketama").get_many(SAMPLE) != chosen


@pytest.mark.data
def test_points_and_servers_of_libmemcacheds_own_test():
    case = json.loads(datasets.require("ring/ketama_weighted.json").read_text())
    cluster = {server["address"]: server["weight"] for server in case["servers"]}
    model, ring = ketama_weighted(cluster), HashRing(cluster, hash="ketama-weighted")
    assert len(model.points) == 1264
    for row in case["cases"]:
        point = model.point(row["key"])
        assert (point.value, point.server) == (row["point"], f"{row['server']}:11211")
        assert ring.get_node(row["key"]) == point.server
