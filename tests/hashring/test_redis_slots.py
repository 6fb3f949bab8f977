"""The hash `crc16` against the slots of a real Redis Cluster node."""

import random

import pytest

from ports import free_port
from redis_server import RedisServer
from twins import both_twins

KeyHash = both_twins("penstock.hashring.key_hash")

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    bus = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with RedisServer(tmp_path_factory.mktemp("redis") / "node", *bus) as server:
        yield server.client()


def slots(node, keys):
    """The slot of each key, as the node tells it."""
    pipeline = node.pipeline(transaction=False)
    for key in keys:
        pipeline.execute_command("CLUSTER KEYSLOT", key)
    return pipeline.execute()


HOSTILE = [
    *(
        "",
        "{",
        "}",
        "{}",
        "{}{a}",
        "{a}",
        "a{b}c",
        "a{b}{c}",
        "a{{b}}c",
        "{a",
        "a}",
        "}a{",
        "a}{b}",
        "{}}",
        "{{}",
    ),
    *("{\0}", "\0", "{ключ}x", "鍵{😀}", "{{{", "}}}", "{}a{b}", "x" * 1000, "{" + "y" * 1000 + "}z"),
    *(b"\xff\xfe", b"{\xff}\xfe", b"{\xff", bytes(range(256))),
]


def test_slots_of_hostile_keys_are_those_of_the_server(KeyHash, node):
    hashed = KeyHash("crc16")
    assert [hashed(key) for key in HOSTILE] == slots(node, HOSTILE)


def test_slots_of_random_keys_are_those_of_the_server(KeyHash, node):
    dice = random.Random(1)
    keys = [bytes(dice.choices(b"{}ab\xff\0", k=dice.randrange(12))) for _ in range(5000)]
    keys += [dice.randbytes(dice.randrange(40)) for _ in range(5000)]
    assert KeyHash("crc16").many(keys).tolist() == slots(node, keys)
