"""How long varints take, one at a time and as arrays, and the records of a message without a schema."""

from importlib import import_module

import numpy as np

SIZE = 10_000


def values(kind):
    """Values of one byte, of one or two, or of all lengths; or small ones of both signs."""
    rng = np.random.default_rng(1)
    if kind == "signed":
        return rng.integers(-1_000, 1_000, SIZE)
    bits = {"1 byte": 7, "2 bytes": 14, "mixed": rng.integers(1, 65, SIZE, np.uint64)}[kind]
    return rng.integers(0, 2**64, SIZE, np.uint64) >> np.asarray(64 - bits, np.uint64)


class Varint:
    params = (("c", "py"), (5, 300, 2**63))
    param_names = ("impl", "value")

    def setup(self, impl, value):
        self.varint = import_module(f"penstock.protobuf._varint_{impl}")
        self.octets = self.varint.encode_varint(value)

    def time_encode_varint_1k(self, impl, value):
        encode_varint = self.varint.encode_varint
        for _ in range(1_000):
            encode_varint(value)

    def time_decode_varint_1k(self, impl, value):
        decode_varint, octets = self.varint.decode_varint, self.octets
        for _ in range(1_000):
            decode_varint(octets)


class Varints:
    params = (("c", "py"), ("1 byte", "2 bytes", "mixed", "signed"))
    param_names = ("impl", "values")

    def setup(self, impl, kind):
        self.varint = import_module(f"penstock.protobuf._varint_{impl}")
        self.values = values(kind)
        self.octets = self.varint.encode_varints(self.values)

    def time_encode_varints_10k(self, impl, kind):
        self.varint.encode_varints(self.values)

    def time_decode_varints_10k(self, impl, kind):
        self.varint.decode_varints(self.octets)

    def time_decode_varints_10k_to_int32(self, impl, kind):
        self.varint.decode_varints(self.octets, dtype="int32")


class WireReader:
    params = (("c", "py"),)
    param_names = ("impl",)

    def setup(self, impl):
        self.WireReader = import_module(f"penstock.protobuf._wire_reader_{impl}").WireReader
        self.order = bytes.fromhex("088d3d12105749444745542d412d5052454d49554d180520b717")

    def time_read_order_of_4_fields_1k(self, impl):
        reader_of, order = self.WireReader, self.order
        for _ in range(1_000):
            for _ in reader_of(order):
                pass
