"""The circuit of an analyzer: falling, rising by a trial, and what a person says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.clock import ManualClock
from penstock.services.distributor.circuit import Circuit


def circuit_of(*, probes_to_fall=2, errors_to_fall=5, probes_to_rise=1, clock=None):
    return Circuit(
        probes_to_fall=probes_to_fall, errors_to_fall=errors_to_fall, probes_to_rise=probes_to_rise,
        clock=clock or ManualClock(),
    )  # fmt: skip


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def circuit(clock):
    return circuit_of(clock=clock)


def fallen(**settings):
    circuit = circuit_of(**settings)
    while circuit.state == "up":
        circuit.probe_failed()
    return circuit


# Falling


def test_two_failed_probes_in_a_row_fell_it(circuit):
    assert not circuit.probe_failed()
    assert not circuit.probe_succeeded()
    assert not circuit.probe_failed()
    assert (circuit.state, circuit.takes_packets, circuit.failed_probes) == ("up", True, 1)
    assert circuit.probe_failed(), "it has just fallen"
    assert (circuit.state, circuit.takes_packets) == ("down", False)
    assert not circuit.probe_failed(), "it lies already"


def test_five_failed_deliveries_in_a_row_fell_it(circuit):
    for _ in range(4):
        assert not circuit.delivery_failed()
    assert not circuit.delivery_succeeded()
    for _ in range(4):
        assert not circuit.delivery_failed()
    assert (circuit.state, circuit.errors_in_a_row) == ("up", 4)
    assert circuit.delivery_failed()
    assert circuit.state == "down"
    assert not circuit.delivery_failed(), "one that was under way"


def test_probes_do_not_make_deliveries_good(circuit):
    for _ in range(4):
        circuit.delivery_failed()
        circuit.probe_succeeded()
    assert circuit.delivery_failed()


def test_nothing_is_delivered_to_one_that_is_down():
    circuit = fallen()
    assert not circuit.may_deliver(0)
    assert not circuit.delivery_succeeded(), "one that was under way tells nothing of now"
    assert circuit.state == "down"


# Rising


def test_answered_probe_gives_it_one_delivery_as_a_trial_whose_success_opens_it():
    circuit = fallen()
    assert circuit.probe_succeeded(), "it takes packets: it needs something to try"
    assert (circuit.state, circuit.takes_packets) == ("trial", True)
    assert circuit.may_deliver(0)
    assert not circuit.may_deliver(1)
    assert not circuit.probe_succeeded()
    assert not circuit.delivery_succeeded(), "it took packets before"
    assert circuit.state == "up"
    assert circuit.may_deliver(63)


def test_trial_that_fails_ends_it_at_once():
    circuit = fallen()
    circuit.probe_succeeded()
    assert circuit.delivery_failed()
    assert circuit.state == "down"
    assert not circuit.may_deliver(0)
    assert circuit.probe_succeeded()
    circuit.delivery_succeeded()
    for _ in range(4):
        assert not circuit.delivery_failed(), "the count began anew"


def test_probes_that_fail_end_a_trial_as_they_fell_it():
    circuit = fallen()
    circuit.probe_succeeded()
    assert not circuit.probe_failed()
    assert circuit.probe_failed()
    assert circuit.state == "down"


def test_so_many_probes_in_a_row_as_are_asked_for_raise_it():
    circuit = fallen(probes_to_rise=3)
    for _ in range(2):
        assert not circuit.probe_succeeded()
        assert not circuit.probe_succeeded()
        assert not circuit.probe_failed()
    assert [circuit.probe_succeeded() for _ in range(3)] == [False, False, True]


def test_thresholds_of_one_fell_and_raise_at_once():
    circuit = circuit_of(probes_to_fall=1, errors_to_fall=1)
    assert circuit.probe_failed()
    assert circuit.probe_succeeded()
    circuit.delivery_succeeded()
    assert circuit.delivery_failed()


@pytest.mark.parametrize("name", ["probes_to_fall", "errors_to_fall", "probes_to_rise"])
def test_threshold_below_one_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be >= 1, got 0"):
        circuit_of(**{name: 0})


# What a person says


def test_word_of_a_person_stands_above_health(circuit):
    assert circuit.override("down", reason="maintenance")
    assert (circuit.takes_packets, circuit.may_deliver(0)) == (False, False)
    assert (circuit.state, circuit.overridden, circuit.reason) == ("up", "down", "maintenance")
    assert not circuit.probe_succeeded()
    assert circuit.override("up")
    assert (circuit.takes_packets, circuit.may_deliver(63), circuit.reason) == (True, True, "")
    for _ in range(3):
        assert not circuit.probe_failed()
    assert circuit.state == "down"
    assert (circuit.takes_packets, circuit.may_deliver(63)) == (True, True)
    assert circuit.override(None), "its health counts again"
    assert (circuit.takes_packets, circuit.overridden) == (False, None)


def test_one_that_drains_finishes_what_it_has_as_its_health_allows(circuit):
    assert circuit.override("drain")
    assert not circuit.takes_packets
    assert circuit.may_deliver(63)
    assert not circuit.probe_failed()
    assert circuit.probe_failed(), "what it has must go elsewhere"
    assert not circuit.may_deliver(0)
    assert circuit.probe_succeeded()
    assert circuit.may_deliver(0)
    assert not circuit.may_deliver(1)
    assert circuit.override("down")
    assert not circuit.may_deliver(0)


def test_word_holds_for_its_time_and_not_longer(circuit, clock):
    circuit.override("down", ttl=60.0, reason="for a minute")
    clock.advance(59.0)
    assert not circuit.expire()
    assert (circuit.takes_packets, circuit.expires_in) == (False, 1.0)
    clock.advance(5.0)
    assert circuit.expires_in == 0.0
    assert circuit.expire(), "it takes packets again"
    assert (circuit.overridden, circuit.reason, circuit.expires_in) == (None, "", None)
    assert not circuit.expire()


def test_word_without_a_time_holds_until_the_next_one(circuit, clock):
    circuit.override("down", ttl=60.0)
    circuit.override("down")
    clock.advance(1e6)
    assert circuit.expires_in is None
    assert not circuit.expire()
    assert circuit.overridden == "down"
    circuit.override(None, ttl=60.0, reason="none")
    assert (circuit.overridden, circuit.reason, circuit.expires_in) == (None, "", None)


def test_one_that_was_well_meanwhile_is_up_when_the_word_is_over():
    circuit = fallen()
    circuit.override("down")
    assert not circuit.probe_succeeded()
    assert circuit.override(None)
    assert circuit.state == "trial"


def test_person_may_put_it_back_until_it_fails_again(circuit):
    circuit.override("down")
    circuit.probe_failed()
    circuit.probe_failed()
    assert circuit.put_back()
    assert not circuit.put_back()
    assert (circuit.state, circuit.overridden, circuit.failed_probes) == ("up", None, 0)
    assert not circuit.probe_failed()
    assert circuit.probe_failed()
    assert circuit.put_back()
    assert circuit.may_deliver(3), "without a trial"


@pytest.mark.parametrize(
    ("state", "ttl", "message"),
    [
        ("sideways", None, "override must be up, drain, down or None, got 'sideways'"),
        ("down", 0, "ttl must be > 0 and <= 31536000 seconds, got 0"),
        ("down", -1.0, "ttl must be > 0 and <= 31536000 seconds, got -1.0"),
        ("down", 1e9, "ttl must be > 0 and <= 31536000 seconds, got 1000000000.0"),
        ("down", float("nan"), "ttl must be > 0 and <= 31536000 seconds, got nan"),
    ],
)
def test_word_that_makes_no_sense_is_refused_and_changes_nothing(circuit, state, ttl, message):
    circuit.override("drain", 5.0, "first")
    with pytest.raises(ValueError, match=message):
        circuit.override(state, ttl)
    assert (circuit.overridden, circuit.expires_in, circuit.reason) == ("drain", 5.0, "first")


# Always


events = st.sampled_from(
    ["probe_succeeded", "probe_failed", "delivery_succeeded", "delivery_failed", "expire", "put_back"]
).map(lambda name: (name, ()))
words = st.tuples(st.sampled_from(["up", "drain", "down", None]), st.none() | st.sampled_from([1.0, 5.0]))


@given(
    st.lists(events | words.map(lambda word: ("override", word)), max_size=60),
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 3),
)  # fmt: skip
def test_every_report_tells_whether_it_changed_who_gets_what(schedule, to_fall, errors, to_rise):
    clock = ManualClock()
    circuit = circuit_of(probes_to_fall=to_fall, errors_to_fall=errors, probes_to_rise=to_rise, clock=clock)
    for name, arguments in schedule:
        got = circuit.takes_packets, circuit.may_deliver(0)
        changed = getattr(circuit, name)(*arguments)
        assert changed is ((circuit.takes_packets, circuit.may_deliver(0)) != got)
        clock.advance(1.0)
        if circuit.overridden is None:
            assert circuit.takes_packets is (circuit.state != "down")
            assert circuit.may_deliver(0) is circuit.takes_packets
            assert circuit.may_deliver(1) is (circuit.state == "up")
        else:
            assert circuit.takes_packets is (circuit.overridden == "up")


@given(st.lists(events, max_size=60))
def test_one_probe_always_raises_it_so_that_it_never_stays_down(schedule):
    circuit = circuit_of()
    for name, _ in schedule:
        getattr(circuit, name)()
    circuit.probe_succeeded()
    assert circuit.may_deliver(0)
