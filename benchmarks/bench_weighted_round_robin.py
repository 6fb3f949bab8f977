"""How long it takes to say whose turn it is."""

from importlib import import_module


class WeightedRoundRobin:
    params = (("c", "py"), (4, 100))
    param_names = ("impl", "members")

    def setup(self, impl, members):
        balancer = import_module(f"penstock.balancing._weighted_round_robin_{impl}").WeightedRoundRobin
        self.balancer = balancer({i: members - i for i in range(members)})
        self.balancer.pick_many(1)  # imports numpy

    def time_pick_1k(self, impl, members):
        pick = self.balancer.pick
        for _ in range(1_000):
            pick()

    def time_pick_many_10k(self, impl, members):
        self.balancer.pick_many(10_000)

    def time_flap_and_pick_1k(self, impl, members):
        balancer = self.balancer
        for _ in range(500):
            balancer.mark_down(1)
            balancer.pick()
            balancer.mark_up(1)
            balancer.pick()

    def time_state_and_restore_1k(self, impl, members):
        balancer = self.balancer
        for _ in range(1_000):
            balancer.restore(balancer.state())
