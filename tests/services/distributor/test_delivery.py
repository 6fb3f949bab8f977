"""What follows from an analyzer's answer: who is delivered, tried again, given up, or sent in halves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.distributor.carrier import DeliveryFailed, PacketFailure
from penstock.services.distributor.change import Stored
from penstock.services.distributor.config import Config
from penstock.services.distributor.delivery import DeliveryPolicy

NOW_MS = 1_700_000_000_000


def policy_of(*, random=lambda: 0.0, **settings):
    return DeliveryPolicy(Config(**settings), random)


@pytest.fixture
def policy():
    return policy_of()


def packets(n, failures=0):
    return [Stored(seq, f"p{seq}", 2, 10, b"x" * 10, failures=failures) for seq in range(n)]


def waits(change):
    return [(retry.due_ms - NOW_MS) / 1000 for retry in change.retried]


def failed(policy, batch, status=None, retry_after=None, **more):
    return policy.failed("a1", batch, DeliveryFailed("why", status, retry_after), NOW_MS, **more)


# Answers of 2xx


def test_answer_that_names_nobody_means_that_all_are_delivered(policy):
    change = policy.answered("a1", packets(3), {}, NOW_MS)
    assert [one.id for one in change.delivered] == ["p0", "p1", "p2"]
    assert change.counters == {
        "delivered": 3, "messages_routed": 6, "retries": 0, "dead": 0, "processed:a1": 3, "errors:a1": 0,
    }  # fmt: skip


def test_only_packets_that_are_named_are_tried_again(policy):
    change = policy.answered("a1", packets(3), {"p1": PacketFailure("crashed")}, NOW_MS)
    assert [one.id for one in change.delivered] == ["p0", "p2"]
    [retry] = change.retried
    assert (retry.packet.id, retry.analyzer, retry.error) == ("p1", "a1", "crashed")
    assert change.counters["errors:a1"] == change.counters["retries"] == 1


def test_waits_are_2_4_and_8_seconds_and_then_it_is_given_up(policy):
    for failures, wait in enumerate((2, 4, 8)):
        assert waits(policy.answered("a1", packets(1, failures), {"p0": PacketFailure("x")}, NOW_MS)) == [
            wait
        ]
    [letter] = policy.answered("a1", packets(1, 3), {"p0": PacketFailure("x")}, NOW_MS).dead
    assert (letter.packet.id, letter.error, letter.failed_at_ms) == ("p0", "x", NOW_MS)


@pytest.mark.parametrize(
    ("failure", "is_dead"),
    [
        (PacketFailure("x", 400), True), (PacketFailure("x", 422), True), (PacketFailure("x", 429), False),
        (PacketFailure("x", 408), False), (PacketFailure("x", 500), False), (PacketFailure("x", 503), False),
        (PacketFailure("x", final=True), True), (PacketFailure("x", 500, final=True), True),
    ],
)  # fmt: skip
def test_packet_that_is_refused_for_good_is_given_up_at_once(policy, failure, is_dead):
    change = policy.answered("a1", packets(1), {"p0": failure}, NOW_MS)
    assert (len(change.dead), len(change.retried)) == (is_dead, not is_dead)


def test_which_refusals_are_for_good_can_be_set():
    policy = policy_of(retry_statuses=(422,))
    assert policy.answered("a1", packets(1), {"p0": PacketFailure("x", 422)}, NOW_MS).retried
    assert policy.answered("a1", packets(1), {"p0": PacketFailure("x", 429)}, NOW_MS).dead


@pytest.mark.parametrize(
    ("asked", "wait"), [(1, 2), (0, 2), (-5, 2), (30, 30), (1e9, 86_400), (float("nan"), 2)]
)
def test_retry_after_raises_and_never_lowers_the_wait(policy, asked, wait):
    failure = PacketFailure("x", 429, asked)
    assert waits(policy.answered("a1", packets(1), {"p0": failure}, NOW_MS)) == [wait]


@given(failures=st.integers(0, 5), jitter=st.floats(0, 1), chance=st.floats(0, 1, exclude_max=True))
def test_jitter_takes_off_a_random_part_and_no_more(failures, jitter, chance):
    policy = policy_of(random=lambda: chance, retry_jitter=jitter, max_attempts=10)
    [wait] = waits(policy.answered("a1", packets(1, failures), {"p0": PacketFailure("x")}, NOW_MS))
    whole = min(2 * 2**failures, 60)
    assert whole * (1 - jitter) - 0.001 <= wait <= whole


# Other answers, and none


@pytest.mark.parametrize("status", [None, 300, 500, 502, 408, 425])
def test_failure_of_a_delivery_costs_each_packet_an_attempt_and_counts_against_the_analyzer(policy, status):
    verdict = failed(policy, packets(3), status)
    assert waits(verdict.change) == [2, 2, 2]
    assert verdict.counts_against
    assert verdict.left_alone == 0


@pytest.mark.parametrize("status", [400, 413, 422, 404, 401])
def test_refusal_of_several_packets_sends_them_in_halves_and_costs_nothing(policy, status):
    batch = packets(5)
    verdict = failed(policy, batch, status)
    assert verdict.change is None
    assert [one for half in verdict.halves for one in half] == batch
    assert [len(half) for half in verdict.halves] == [2, 3]
    assert not verdict.counts_against


def test_packet_that_is_refused_alone_is_given_up(policy):
    verdict = failed(policy, packets(1), 400)
    assert [letter.packet.id for letter in verdict.change.dead] == ["p0"]
    assert not verdict.counts_against, "the analyzer may be right"


@pytest.mark.parametrize("status", [401, 403, 404, 405])
def test_refusal_that_is_about_the_address_counts_against_the_analyzer(policy, status):
    assert failed(policy, packets(1), status).counts_against


@pytest.mark.parametrize("status", [429, 503])
def test_analyzer_that_asks_for_time_gets_it_and_is_not_ill(policy, status):
    verdict = failed(policy, packets(2), status, 7)
    assert (verdict.left_alone, verdict.counts_against) == (7, False)
    assert waits(verdict.change) == [7, 7], "it costs one attempt"
    assert failed(policy, packets(2), 429).counts_against is False
    assert failed(policy, packets(2), 503).counts_against is True, "503 without a word is ill"


@pytest.mark.parametrize(
    ("status", "took_its_time", "pace"),
    [
        (None, True, "timeout"), (None, False, "refused"), (429, False, "overloaded"),
        (503, False, "overloaded"), (500, False, "error"), (400, False, "error"), (413, False, "too_large"),
    ],
)  # fmt: skip
def test_pace_is_told_what_it_has_to_know(policy, status, took_its_time, pace):
    assert failed(policy, packets(2), status, took_its_time=took_its_time).pace == pace


@given(
    st.sampled_from([None, 200, 302, 400, 404, 413, 429, 500, 503]),
    st.lists(st.integers(0, 4), min_size=1, max_size=9),
    st.one_of(st.none(), st.floats()),
)
def test_each_packet_of_a_failed_delivery_has_one_fate(status, failures, asked):
    policy = policy_of()
    batch = [Stored(seq, f"p{seq}", 1, 1, b"x", failures=n) for seq, n in enumerate(failures)]
    verdict = failed(policy, batch, status, asked)
    change = verdict.change
    fates = [one for half in verdict.halves for one in half]
    if change is not None:
        fates += change.delivered + [one.packet for one in (*change.retried, *change.dead)]
        assert all(wait >= 2 for wait in waits(change))
    assert sorted(one.seq for one in fates) == list(range(len(batch)))
