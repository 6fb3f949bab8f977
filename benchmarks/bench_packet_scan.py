"""How long a PacketReader, and Admission, take for a request."""

import json
from importlib import import_module

from benchmarks.distributor.load import SAMPLE
from penstock.clock import monotonic_ns
from penstock.services.distributor.admission import Admission
from penstock.services.distributor.config import Config
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import RecordBundler, record
from penstock.services.distributor.router import Router

CJK = {"messages": [{"message": "日志记录 " * 20, "level": "INFO", "source": "s"}] * 3}


def compact(packets):
    return json.dumps(packets, separators=(",", ":"), ensure_ascii=False).encode()


class PacketReader:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        module = import_module(f"penstock.services.distributor._packet_scan_{impl}")
        self.read = module.PacketReader(Config()).read
        self.single = compact([SAMPLE])
        self.hundred = compact([SAMPLE] * 100)
        self.spaced = json.dumps([SAMPLE] * 100).encode()
        self.escaped = json.dumps([CJK] * 100).encode()
        self.wide = compact([CJK] * 100)
        self.one_invalid = compact([SAMPLE] * 99 + [{"messages": []}])
        self.long = compact([{"messages": [{"message": "x" * 960}]}] * 1000)

    def time_read_single(self, impl):
        self.read(self.single)

    def time_read_100(self, impl):
        self.read(self.hundred)

    def time_read_100_with_spaces(self, impl):
        self.read(self.spaced)

    def time_read_100_escaped(self, impl):
        self.read(self.escaped)

    def time_read_100_of_chinese(self, impl):
        self.read(self.wide)

    def time_read_100_of_which_one_is_invalid(self, impl):
        self.read(self.one_invalid)

    def time_read_1k_of_a_kilobyte(self, impl):
        self.read(self.long)


class Admissions:
    def setup(self):
        config = Config()
        self.gate = Admission(config, monotonic_ns, Router(()))
        self.full = Admission(Config(max_pending=1), monotonic_ns, Router(()))
        self.full.admit(compact([SAMPLE] * 2))
        self.hundred = compact([SAMPLE] * 100)
        self.long = compact([{"messages": [{"message": "x" * 960}]}] * 1000)
        self.bundler = RecordBundler(config, Router(()))
        self.records = [record(Message("x" * 200))] * 1000

    def time_admit_100(self):
        self.gate.left(100, 0)
        self.gate.admit(self.hundred)

    def time_admit_1k_records(self):
        self.gate.left(1, 0)
        self.gate.admit_records(self.bundler.bundle(self.records))

    def time_refuse_1k_when_full(self):
        self.full.admit(self.long)
