"""What a KeyHash promises, on both twins."""

import enum
import hashlib
import pickle
import random
import sys
import time
from threading import Thread

import mmh3
import numpy as np
import pytest
import xxhash
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import InvalidType, InvalidValue, PenstockError
from twins import both_twins, load

MODULE = "penstock.hashring.key_hash"
KeyHash = both_twins(MODULE)
C, PY = load(MODULE, "c"), load(MODULE, "py")

WIDTHS = {  # name: bits of the hash, bits of its seed
    "xxh3_64": (64, 64),
    "xxh64": (64, 64),
    "murmur3_32": (32, 32),
    "sha256-be64": (64, 0),
    "md5-be32": (32, 0),
    "ketama": (32, 0),
    "murmur2": (31, 0),
    "murmur3-cassandra": (64, 0),
    "crc16": (14, 0),
}

every_name = pytest.mark.parametrize("name", WIDTHS)

BORDERS = [0, 1, 3, 4, 8, 9, 16, 17, 32, 33, 64, 96, 128, 129, 240, 241, 1024, 1025, 1088, 2048, 2049, 5000]


def pattern(size):
    return bytes((167 * i + 13) % 256 for i in range(size))


# ---- the values


GOLDEN = {
    "xxh3_64": {"": 0x2D06800538D394C2, "user:alice": 0xF8E9C9563231CBD4, "😀" * 99: 0xFE05BD457132102A},
    "xxh64": {"": 0xEF46DB3751D8E999, "a": 0xD24EC4F1A98C6E5B, "abc": 0x44BC2CF5AD770999},
    "murmur3_32": {"": 0, "hello": 0x248BFA47, "The quick brown fox jumps over the lazy dog": 0x2E4FF723},
    "sha256-be64": {"": 0xE3B0C44298FC1C14, "abc": 0xBA7816BF8F01CFEA},
    "md5-be32": {"": 0xD41D8CD9, "abc": 0x90015098},
    "ketama": {"": 0xD98C1DD4, "abc": 0x98500190},
    "murmur2": {
        "21": -973932308,
        "foobar": -790332482,
        "a-little-bit-long-string": -985981536,
        "abc": 479470107,
    },
    "murmur3-cassandra": {"123": -7468325962851647638, "9223372036854775807": 7162290910810015547},
    "crc16": {"123456789": 0x31C3 % 16384, "foo{bar}baz": 5061, "{user1000}.following": 3443},
}
"""Published: of the specifications, of Kafka's UtilsTest, Cassandra's drivers and the Redis documentation."""


@every_name
def test_values_are_the_published_ones_for_ever(KeyHash, name):
    hashed = KeyHash(name)
    for text, published in GOLDEN[name].items():
        expected = published
        if name == "murmur2":
            expected = published & 0x7FFF_FFFF
        elif name == "murmur3-cassandra":
            expected = published + 2**63
        assert hashed(text) == expected, text


CASSANDRA = {  # of the tests of the Cassandra drivers: bytes above 0x7f among the last 15 count as signed
    b"\x00\xff\x10\xfa\x99" * 10: 5837342703291459765,
    b"\xfe" * 8: -8927430733708461935,
    b"\x10" * 8: 1446172840243228796,
    bytes(range(1, 17)): -5563837382979743776,
    bytes(range(2, 18)): -1513403162740402161,
    bytes(16): 5457549051747178710,
    b"\xff" * 16: -2824192546314762522,
    b"\xfe" * 17: -1672437813826982685,
    b"\xfe" * 4: 4566408979886474012,
    b"\x00\x01\x7f\x7f": 6573459401642635627,
    b"\x00\xff\xff\xff": 123573637386978882,
    b"\xff\x01\x02\x03": -2839127690952877842,
    b"\xe2\xe7": -8582699461035929883,
    b"\xe2\xe7\xe2\xe7\xe2\xe7\x01": 2222373981930033306,
}


def test_cassandra_tokens_are_those_of_its_drivers(KeyHash):
    token = KeyHash("murmur3-cassandra")
    assert {key: token(key) - 2**63 for key in CASSANDRA} == CASSANDRA


def test_cassandra_keeps_its_lowest_token_for_no_key(KeyHash):
    token = KeyHash("murmur3-cassandra")
    assert token(b"") == 0
    assert token(bytes.fromhex("ee961629b0b5ad1d319e18e83892dbed")) == 2**64 - 1  # -2**63 before it is moved


ORACLES = {
    "xxh3_64": xxhash.xxh3_64_intdigest,
    "xxh64": xxhash.xxh64_intdigest,
    "murmur3_32": lambda data, seed: mmh3.hash(data, seed, signed=False),
    "sha256-be64": lambda data, _: int.from_bytes(hashlib.sha256(data).digest()[:8], "big"),
    "md5-be32": lambda data, _: int.from_bytes(hashlib.md5(data).digest()[:4], "big"),
    "ketama": lambda data, _: int.from_bytes(hashlib.md5(data).digest()[:4], "little"),
    "murmur2": lambda data, _: murmur2(data) & 0x7FFF_FFFF,
}
"""Hashes of others that are computed alike."""


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("impl", ["c", "py"])
def test_values_of_all_lengths_are_those_of_the_reference(impl, name):
    sizes = range(600) if impl == "c" else sorted({*range(70), *BORDERS})
    for seed in (0, 1, 2 ** WIDTHS[name][1] - 1) if WIDTHS[name][1] else (0,):
        hashed = load(MODULE, impl)(name, seed)
        for size in (*sizes, *BORDERS):
            data = pattern(size)
            assert hashed(data) == ORACLES[name](data, seed), (size, seed)


def test_cassandra_tokens_of_ascii_are_the_common_murmur3(KeyHash):
    token = KeyHash("murmur3-cassandra")
    for size in range(1, 100):
        data = bytes(byte & 0x7F for byte in pattern(size))
        assert token(data) == mmh3.hash64(data, signed=True)[0] + 2**63


@every_name
@given(key=st.one_of(st.text(), st.binary(max_size=300), st.integers(-(2**63), 2**64 - 1)), data=st.data())
def test_twins_hash_alike(name, key, data):
    bits, seed_bits = WIDTHS[name]
    seed = data.draw(st.integers(0, 2**seed_bits - 1))
    compiled, plain = C(name, seed), PY(name, seed)
    assert compiled(key) == plain(key) < 2**bits
    assert compiled.position(key) == plain.position(key) == plain(key) << 64 - bits


# ---- keys


@every_name
def test_text_hashes_as_its_utf8_and_bytes_as_they_are(KeyHash, name):
    hashed = KeyHash(name)
    for text in ("", "a", "naïve", "ключ", "鍵", "😀 key", "x" * 500, "ж" * 500, "nul\0s\0"):
        data = text.encode()
        same = {hashed(key) for key in (text, data, bytearray(data), memoryview(data))}
        assert len(same) == 1


@every_name
def test_integer_hashes_as_its_8_bytes(KeyHash, name):
    hashed = KeyHash(name)
    for number in (0, 1, -1, 255, 2**31, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)):
        assert hashed(number) == hashed((number % 2**64).to_bytes(8, "little"))
    assert hashed(True) == hashed(np.int8(1)) == hashed(np.uint64(1)) == hashed(1)
    assert hashed(np.int16(-7)) == hashed(-7)


class Text(str):
    def encode(self, *args):
        return b"something else"


class Data(bytes):
    def __bytes__(self):
        return b"something else"


class Number(int):
    def __index__(self):
        return 99


def test_subclasses_of_keys_hash_as_what_they_hold(KeyHash):
    hashed = KeyHash()
    assert hashed(Text("key")) == hashed(Data(b"key")) == hashed("key")
    assert hashed(Number(5)) == hashed(5)
    assert hashed.many([Text("key"), Data(b"key"), Number(5)] * 200).tolist() == [
        *[hashed("key"), hashed("key"), hashed(5)] * 200
    ]


def test_part_of_a_buffer_hashes_as_its_bytes(KeyHash):
    hashed = KeyHash()
    assert hashed(memoryview(b"a-b-c-")[::2]) == hashed(b"abc")


@pytest.mark.parametrize(
    "number", [2**64, -(2**63) - 1, 10**100_000, -(10**100_000)], ids=["above", "below", "huge", "huge below"]
)
def test_integer_of_more_than_64_bits_is_refused(KeyHash, number):
    hashed = KeyHash()
    calls = (
        hashed,
        hashed.position,
        lambda key: hashed.many([key]),
        lambda key: hashed.positions([1, key] * 500),
    )
    for call in calls:
        with pytest.raises(ValueError, match=r"^key must be >= -2\*\*63 and < 2\*\*64, got ") as refusal:
            call(number)
        assert isinstance(refusal.value, PenstockError)
        assert len(str(refusal.value)) < 120


@pytest.mark.parametrize("key", ["\ud800", "ok \udfff", "long " * 99 + "\udc80"])
def test_lone_surrogate_is_refused_as_encoding_it_is(KeyHash, key):
    hashed = KeyHash()
    for call in (hashed, hashed.position, lambda key: hashed.many(["ok", key] * 500)):
        with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
            call(key)


@pytest.mark.parametrize("key", [1.5, None, ("a",), object(), np.float64(1), np.bool_(True), {}])
def test_key_of_another_type_is_refused(KeyHash, key):
    hashed = KeyHash()
    kind = type(key).__name__
    for call in (
        hashed,
        hashed.position,
        lambda key: hashed.many([key]),
        lambda key: hashed.many(["a", key] * 500),
    ):
        with pytest.raises(TypeError, match=rf"^key must be a str, bytes or int, got {kind}$"):
            call(key)


# ---- batches


def mixed_keys(n):
    dice = random.Random(5)
    kinds = [
        lambda: f"user:{dice.randrange(10**6)}",
        lambda: dice.randbytes(dice.randrange(300)),
        lambda: dice.randrange(-(2**63), 2**64),
        lambda: "ключ" * dice.randrange(50),
        lambda: bytearray(dice.randbytes(20)),
    ]
    return [dice.choice(kinds)() for _ in range(n)]


@every_name
@pytest.mark.parametrize("n", [0, 1, 256, 257, 3000])
def test_batch_hashes_each_key_as_a_single_call_does(KeyHash, name, n):
    hashed, keys = KeyHash(name), mixed_keys(n)
    expected = [hashed(key) for key in keys]
    for batch in (keys, tuple(keys), iter(keys), np.array([*keys, None], object)[:-1]):
        found = hashed.many(batch)
        assert (found.dtype, found.tolist()) == (np.uint64, expected)
    assert hashed.positions(keys) == [hashed.position(key) for key in keys]
    assert all(type(position) is int for position in hashed.positions(keys))


ARRAYS = {
    "str": np.array(["", "a", "ab\0c", "naïve", "ключ", "鍵", "😀 key", "end\0\0"]),
    "bytes": np.array([b"", b"a", b"ab\0c", b"0123456789abcdef", b"end\0\0", b"\xff\0"]),
    "empty str": np.zeros(3, "U0"),
    "empty bytes": np.zeros(3, "S0"),
    "int8": np.array([1, -1, 127, -128], np.int8),
    "int64": np.array([1, -1, 2**63 - 1, -(2**63)]),
    "uint16": np.array([0, 65535], np.uint16),
    "uint64": np.array([0, 2**64 - 1], np.uint64),
    "nothing": np.array([], np.int64),
}


@every_name
@pytest.mark.parametrize("kind", ARRAYS)
def test_array_hashes_as_its_list_does(KeyHash, name, kind):
    hashed, keys = KeyHash(name), ARRAYS[kind]
    pair = np.zeros((len(keys), 2), keys.dtype)
    pair[:, 1] = keys
    fixed = keys.copy()
    fixed.flags.writeable = False
    bare = np.frombuffer(b"-" + keys.tobytes(), np.uint8)[1:] if keys.nbytes else np.zeros(0, np.uint8)
    shapes = [keys, keys[::-1], keys[::2], pair[:, 1], keys.astype(keys.dtype.newbyteorder(">")), fixed]
    if keys.nbytes:
        shapes.append(bare.view(keys.dtype))  # at an odd address
    for array in shapes:
        assert hashed.many(array).tolist() == [hashed(key) for key in array.tolist()]


def test_array_of_text_of_any_width_hashes_as_its_list_does(KeyHash):
    hashed, keys = KeyHash(), ["", "a", "ключ", "long " * 99, "end\0"]
    assert hashed.many(np.array(keys, np.dtypes.StringDType())).tolist() == [hashed(key) for key in keys]


def test_surrogate_in_an_array_is_refused(KeyHash):
    for keys in (np.array(["ok", "\ud800", "ok"]), np.array(["ok", "no \udfff"])):
        with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
            KeyHash().many(keys)


def test_code_point_that_does_not_exist_is_refused(KeyHash):
    keys = np.array([0x110000, 0], np.uint32).view("U1")
    with pytest.raises(ValueError, match=r"^keys must be of code points <= 0x10ffff, got one above$"):
        KeyHash().many(keys)


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ("key", TypeError, "keys must be a list, a tuple or an array of keys, got str"),
        (b"key", TypeError, "keys must be a list, a tuple or an array of keys, got bytes"),
        (5, TypeError, "keys must be a list, a tuple or an array of keys, got int"),
        (np.zeros(3), TypeError, "keys must be an array of str, bytes or integers, got float64"),
        (np.zeros(3, bool), TypeError, "keys must be an array of str, bytes or integers, got bool"),
        (
            np.zeros(3, "M8[s]"),
            TypeError,
            r"keys must be an array of str, bytes or integers, got datetime64\[s\]",
        ),
        (np.zeros((2, 2), int), ValueError, "keys must have one dimension, got 2"),
        (np.array("key"), ValueError, "keys must have one dimension, got 0"),
    ],
)
def test_batch_of_another_kind_is_refused(KeyHash, keys, error, message):
    for call in (KeyHash().many, KeyHash().positions):
        with pytest.raises(error, match=f"^{message}$") as refusal:
            call(keys)
        assert isinstance(refusal.value, PenstockError)


def test_batch_that_fails_lets_go_of_its_keys(KeyHash):
    key = b"long " * 20
    before = sys.getrefcount(key)
    with pytest.raises(TypeError):
        KeyHash().many([key] * 1000 + [None])
    KeyHash().many([key] * 3000)
    assert sys.getrefcount(key) == before


class Shortening:
    """A key that empties its list while it is hashed."""

    def __init__(self, keys):
        self.keys = keys

    def __index__(self):
        del self.keys[2:]
        return 1


@pytest.mark.parametrize("n", [10, 1000])
def test_list_that_is_emptied_meanwhile_does_no_harm(n):
    keys = [b"x" * 100 for _ in range(n)]
    keys[1] = Shortening(keys)
    with pytest.raises(
        ValueError, match=r"^keys must not change while they are hashed, got other ones at 2$"
    ):
        C().many(keys)


@every_name
def test_threads_share_a_hash(KeyHash, name):
    hashed, keys = KeyHash(name), mixed_keys(1500)
    expected = hashed.many(keys).tolist()
    found = []
    threads = [Thread(target=lambda: found.append(hashed.many(keys).tolist())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


NAMES = [f"user:{i}" for i in range(300_000)]


@pytest.mark.parametrize(
    "keys",
    [NAMES, np.array(NAMES), np.array(NAMES, "S"), np.arange(300_000)],
    ids=["list", "str", "bytes", "int"],
)
def test_other_threads_run_while_a_long_batch_is_hashed(keys):
    hashed = C("sha256-be64")

    def seen_while_it_is_hashed():
        steps = []

        def batch():
            steps.append("start")
            hashed.many(keys)
            steps.append("end")

        thread = Thread(target=batch)
        thread.start()
        while "end" not in steps:
            steps.append("meanwhile")
            time.sleep(0.001)
        thread.join()
        return "meanwhile" in steps[steps.index("start") : steps.index("end")]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # seconds: who has the GIL keeps it until it lets go of it itself
    try:
        assert any(seen_while_it_is_hashed() for _ in range(100))  # a busy machine may not run us in time
    finally:
        sys.setswitchinterval(interval)


# ---- callables


def sum_of_bytes(data):
    return sum(data)


def test_callable_hashes_the_bytes_of_keys(KeyHash):
    hashed = KeyHash(sum_of_bytes)
    assert (hashed.name, hashed.bits, hashed.seed, hashed.function) == (None, 64, 0, sum_of_bytes)
    assert [hashed(key) for key in ("ab", b"ab", 3, "ж", "x" * 100)] == [195, 195, 3, 390, 12000]
    assert hashed.position("ab") == 195
    keys = ["ab", b"abc", 3, "", "ж"] * 100
    assert hashed.many(keys).tolist() == [hashed(key) for key in keys]
    assert hashed.many(np.array([b"ab", b"a"])).tolist() == [195, 97]


def test_callable_gets_bytes_whatever_the_key(KeyHash):
    seen = []
    hashed = KeyHash(lambda data: seen.append(data) or 0)
    for key in ("ab", b"ab", bytearray(b"ab"), Text("ab"), Data(b"ab")):
        hashed(key)
    hashed.many(["ab", Data(b"ab")])
    assert seen == [b"ab"] * 7
    assert {type(data) for data in seen} == {bytes}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, r"hash of b'key' must be >= 0 and < 2\*\*64, got -1"),
        (2**64, ValueError, r"hash of b'key' must be >= 0 and < 2\*\*64, got 18446744073709551616"),
        (2**500, ValueError, r"hash of b'key' must be >= 0 and < 2\*\*64, got an int of 501 bits"),
        (1.0, TypeError, "hash of b'key' must be an int, got float"),
        (None, TypeError, "hash of b'key' must be an int, got NoneType"),
    ],
)
def test_callable_that_answers_no_hash_is_refused(KeyHash, value, error, message):
    hashed = KeyHash(lambda data: value)
    for call in (hashed, hashed.position, lambda key: hashed.many([key])):
        with pytest.raises(error, match=f"^{message}$") as refusal:
            call("key")
        assert isinstance(refusal.value, PenstockError)


def test_error_of_a_callable_comes_through(KeyHash):
    def broken(data):
        raise KeyError(data)

    for call in (KeyHash(broken), KeyHash(broken).position, lambda key: KeyHash(broken).many([key])):
        with pytest.raises(KeyError, match="key"):
            call("key")


# ---- the object


@every_name
def test_hash_tells_what_it_is(KeyHash, name):
    hashed = KeyHash(name)
    assert (hashed.name, hashed.seed, hashed.bits, hashed.function) == (name, 0, WIDTHS[name][0], None)
    assert repr(hashed) == f"KeyHash('{name}')"


def test_default_is_xxh3_without_a_seed(KeyHash):
    assert KeyHash() == KeyHash("xxh3_64") == KeyHash("xxh3_64", 0) == KeyHash(seed=0)


def test_hashes_are_equal_by_name_and_seed(KeyHash):
    assert repr(KeyHash("xxh64", 7)) == "KeyHash('xxh64', seed=7)"
    different = {KeyHash(), KeyHash(seed=1), KeyHash("xxh64"), KeyHash("ketama"), KeyHash(len), KeyHash(sum)}
    assert len(different) == 6
    assert different == {
        KeyHash(),
        KeyHash(seed=1),
        KeyHash("xxh64"),
        KeyHash("ketama"),
        KeyHash(len),
        KeyHash(sum),
    }
    assert KeyHash() != "xxh3_64"


@pytest.mark.parametrize("attribute", ["name", "seed", "bits", "function"])
def test_hash_is_frozen(KeyHash, attribute):
    with pytest.raises(AttributeError):
        setattr(KeyHash(), attribute, 1)


def test_hash_cannot_begin_again(KeyHash):
    hashed = KeyHash("xxh64", 7)
    with pytest.raises(InvalidValue, match=r"^a KeyHash must be initialised once, got a second time$"):
        hashed.__init__("crc16")
    assert hashed == KeyHash("xxh64", 7)


class Known(enum.StrEnum):
    SLOTS = "crc16"
    __str__ = enum.Enum.__str__


def test_name_may_be_of_a_subclass_of_text(KeyHash):
    hashed = KeyHash(Known.SLOTS)
    assert (hashed.name, type(hashed.name), hashed("key")) == ("crc16", str, KeyHash("crc16")("key"))


def test_hash_is_no_callable_of_another_hash(KeyHash):
    with pytest.raises(InvalidType, match=r"^name must be the name of a hash or a callable, got a KeyHash"):
        KeyHash(KeyHash("md5-be32"))


def test_pickle_holds_what_it_is_and_opens_with_either_twin(KeyHash, monkeypatch):
    for hashed in (KeyHash(), KeyHash("murmur3_32", 5), KeyHash(len)):
        data = pickle.dumps(hashed)
        assert b"_key_hash_" not in data
        for twin in (C, PY):
            monkeypatch.setattr(f"{MODULE}.KeyHash", twin)
            opened = pickle.loads(data)
            assert type(opened) is twin
            assert opened("key") == hashed("key")
            assert (opened.name, opened.seed, opened.function) == (hashed.name, hashed.seed, hashed.function)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("md5",), ValueError, "name must be one of xxh3_64, xxh64, .*, crc16, got 'md5'"),
        (("x" * 10**6,), ValueError, "name must be one of xxh3_64, .*, got 'x+...x+'"),
        ((5,), TypeError, "name must be the name of a hash or a callable, got int"),
        ((None,), TypeError, "name must be the name of a hash or a callable, got NoneType"),
        (("xxh3_64", -1), ValueError, r"seed of xxh3_64 must be >= 0 and < 2\*\*64, got -1"),
        (("xxh64", 2**64), ValueError, r"seed of xxh64 must be >= 0 and < 2\*\*64, got 18446744073709551616"),
        (("murmur3_32", 2**32), ValueError, r"seed of murmur3_32 must be >= 0 and < 2\*\*32, got 4294967296"),
        (("xxh64", 2**500), ValueError, "seed of xxh64 must be .*, got an int of 501 bits"),
        (("xxh64", 1.0), TypeError, "seed must be an int, got float"),
        (("ketama", 1), ValueError, "seed of ketama must be 0, as it has none, got 1"),
        (("crc16", 1), ValueError, "seed of crc16 must be 0, as it has none, got 1"),
        ((len, 1), ValueError, "seed of a callable must be 0, as it has none, got 1"),
    ],
)
def test_hash_that_does_not_exist_is_refused(KeyHash, arguments, error, message):
    with pytest.raises(error, match=f"^{message}$") as refusal:
        KeyHash(*arguments)
    assert isinstance(refusal.value, PenstockError)
    assert len(str(refusal.value)) < 250
