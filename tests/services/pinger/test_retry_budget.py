"""How many retries a host is worth."""

import pytest

from penstock import PenstockError
from penstock.services.pinger import retry_budget
from penstock.services.pinger.retry_budget import RetryBudget


def test_host_has_its_reserve_and_then_a_share_of_its_pings():
    budget = RetryBudget(0.5, reserve=3)
    assert [budget.retry("a") for _ in range(4)] == [True, True, True, False]
    for _ in range(4):
        budget.ping("a")
    assert [budget.retry("a") for _ in range(3)] == [True, True, False]
    assert budget.refused == 2


def test_hosts_do_not_share():
    budget = RetryBudget(0, reserve=1)
    assert budget.retry("a")
    assert not budget.retry("a")
    assert budget.retry("b")


def test_good_hosts_save_no_more_than_the_reserve():
    budget = RetryBudget(1.0, reserve=2)
    for _ in range(1000):
        budget.ping("a")
    assert sum(budget.retry("a") for _ in range(100)) == 3


def test_hosts_that_were_pinged_last_are_remembered(monkeypatch):
    monkeypatch.setattr(retry_budget, "MAX_HOSTS", 2)
    budget = RetryBudget(0, reserve=1)
    for host in ("a", "b", "c"):
        budget.ping(host)
        budget.retry(host)
    assert not budget.retry("c")
    assert budget.retry("a")  # forgotten, so it begins anew


@pytest.mark.parametrize(
    ("share", "reserve", "words"), [(-1, 1, "share must be >= 0"), (1, -1, "reserve must be >= 0")]
)
def test_impossible_budget_is_refused(share, reserve, words):
    with pytest.raises(PenstockError, match=words):
        RetryBudget(share, reserve)
