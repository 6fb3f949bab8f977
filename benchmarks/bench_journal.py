"""What storing packets costs, and opening a journal of very many of them."""

import tempfile
from collections import Counter
from pathlib import Path
from shutil import rmtree

from penstock.services.distributor.change import Change, Stored
from penstock.services.distributor.spool import Spool

BODY = b'{"messages":[' + b"x" * 506 + b"]}"  # 521 bytes, as the sample packet of the README


def packets(first, count):
    return [
        Stored(seq, f"0198f0c2-1111-7222-8333-{seq:012d}", 3, len(BODY), BODY, analyzer=f"a{seq % 4}")
        for seq in range(first, first + count)
    ]


class Committing:
    params = (["memory", "os", "fsync"], [1, 100, 1000])
    param_names = ("durability", "packets")

    def setup(self, durability, count):
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        self.spool = Spool(self.folder, durability)
        self.next = 1

    def teardown(self, durability, count):
        self.spool.close()
        rmtree(self.folder)

    def time_commit_and_end(self, durability, count):
        new = packets(self.next, count)
        self.next += count
        self.spool.commit(Change(accepted=new, counters=Counter(accepted=count)))
        self.spool.commit(Change(delivered=new, counters=Counter(delivered=count)))


class Opening:
    params = (10_000, 200_000)
    param_names = ("packets",)

    def setup(self, count):
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        with Spool(self.folder, "os") as spool:
            for first in range(1, count, 100):
                spool.commit(Change(accepted=packets(first, 100)))
        self.spool = Spool(self.folder, "os")
        self.after = 0

    def teardown(self, count):
        self.spool.close()
        rmtree(self.folder)

    def time_open(self, count):
        self.spool.close()
        self.spool = Spool(self.folder, "os")

    def time_read_500_of_one_analyzer(self, count):
        backlog = self.spool.read_backlog("default", "a1", self.after, 500, 1 << 20)
        self.after = 0 if backlog.done else backlog.after

    def time_story_of_one_packet(self, count):
        self.spool.story(f"0198f0c2-1111-7222-8333-{count // 2:012d}")


class DeadLetters:
    def setup(self):
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
        self.spool = Spool(self.folder, "fsync")
        self.next = 1

    def teardown(self):
        self.spool.close()
        rmtree(self.folder)

    def time_10k_packets_become_letters_in_20_commits(self):
        from penstock.services.distributor.change import DeadLetter

        for _ in range(20):
            new = packets(self.next, 500)
            self.next += 500
            self.spool.commit(Change(accepted=new))
            self.spool.commit(Change(dead=[DeadLetter(one, "crashed", 1) for one in new]))
