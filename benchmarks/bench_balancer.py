"""How long a pick takes, and its release, under each policy; and what it costs to change members."""

import penstock.balancing
from penstock.balancing import Affinity, Balancer, LeastConnections, OutlierDetection, SmoothWeighted
from penstock.hashring import HashRing


class Policies:
    params = (
        (
            "RoundRobin", "SmoothWeighted", "ExactWeighted", "LeastConnections", "WeightedLeastConnections",
            "PowerOfTwoChoices", "PeakEwma",
        ),
        (4, 100),
    )  # fmt: skip
    param_names = ("policy", "members")

    def setup(self, policy, members):
        weights = {str(i): 1 + i % 3 for i in range(members)}
        self.balancer = Balancer(weights, policy=getattr(penstock.balancing, policy)())

    def time_pick_and_release_1k(self, policy, members):
        pick = self.balancer.pick
        for _ in range(1_000):
            pick().release()

    def time_pick_many_1k(self, policy, members):
        self.balancer.pick_many(1_000)


class Settings:
    """A balancer of 10 members with all that it can watch."""

    def setup(self):
        weights = {str(i): 1 for i in range(10)}
        self.watched = Balancer(weights, policy=LeastConnections(), outliers=OutlierDetection())
        self.zoned = Balancer(weights, zone="0", zone_of=lambda name: str(int(name) % 2))
        for name in "024":
            self.zoned.mark_down(name)
        self.affine = Balancer(weights, policy=Affinity(HashRing))

    def time_block_1k(self):
        pick = self.watched.pick
        for _ in range(1_000):
            with pick():
                pass

    def time_fail_1k(self):
        pick = self.watched.pick
        for _ in range(1_000):
            pick().release("failed")

    def time_pick_over_zones_and_release_1k(self):
        pick = self.zoned.pick
        for _ in range(1_000):
            pick().release()

    def time_pick_by_ring_and_release_1k(self):
        pick = self.affine.pick
        for _ in range(1_000):
            pick("user:17").release()

    def time_pick_avoiding_one_and_release_1k(self):
        pick = self.watched.pick
        for _ in range(1_000):
            pick(avoid=("3",)).release()


class Changes:
    params = (10, 1_000)
    param_names = ("members",)

    def setup(self, members):
        self.balancer = Balancer({str(i): 1 for i in range(members)}, policy=SmoothWeighted())

    def time_mark_down_and_up_100(self, members):
        for _ in range(100):
            self.balancer.mark_down("5")
            self.balancer.mark_up("5")

    def time_add_and_remove_100(self, members):
        for _ in range(100):
            self.balancer.add("new")
            self.balancer.remove("new")
