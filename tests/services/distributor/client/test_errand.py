"""What an answer of the distributor means for each packet of a batch, without a network."""

import json
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.resilience import ExponentialBackoff
from penstock.services.distributor.client import NotADistributor
from penstock.services.distributor.client.errand import Errand, Packed, PostAnswer
from services.distributor.client.scripted import some, taken

BACKOFF = ExponentialBackoff(1.0, limit=8.0)


def batch(n):
    return [
        Packed(f"p{i}", 1, json.dumps({"id": f"p{i}", "messages": [{"message": "x"}]}).encode())
        for i in range(n)
    ]


def sent(errand):
    return json.loads(errand.body())


def told(answer, retry_after=None):
    status, body = answer
    return PostAnswer(status, retry_after, json.dumps(body).encode())


def ids(packets):
    return [packet.id for packet in packets]


def test_all_accepted_is_the_end():
    errand = Errand(batch(3), BACKOFF)
    assert [packet["id"] for packet in sent(errand)] == ["p0", "p1", "p2"]
    assert errand.answered(told(taken(sent(errand)))) == 0
    assert (ids(errand.accepted), errand.next, errand.left) == (["p0", "p1", "p2"], [], [])


def test_packets_without_room_are_sent_again_and_refused_ones_are_not():
    errand = Errand(batch(4), BACKOFF)
    answer = some(sent(errand), {1: "queue_full", 2: "invalid"})
    assert errand.answered(told(answer, 5.0)) == 5
    assert (ids(errand.accepted), ids(errand.next)) == (["p0", "p3"], ["p1"])
    assert [(one.id, one.code, one.error) for one in errand.refused] == [("p2", "invalid", "it is invalid")]
    errand.answered(told(taken(sent(errand))))
    assert ids(errand.accepted) == ["p0", "p3", "p1"]


def test_503_with_outcomes_accepts_nobody():
    errand = Errand(batch(3), BACKOFF)
    errand.answered(told(some(sent(errand), {0: "queue_full", 1: "invalid", 2: "queue_full"}, 503)))
    assert (errand.accepted, ids(errand.next), ids(errand.refused)) == ([], ["p0", "p2"], ["p1"])


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_trouble_that_passes_is_waited_for_longer_and_longer(status):
    errand = Errand(batch(2), BACKOFF)
    answer = PostAnswer(status, None, b'{"detail": "busy"}')
    assert [errand.answered(answer) for _ in range(5)] == [1, 2, 4, 8, 8]
    assert errand.answered(answer._replace(retry_after=30.0)) == 30
    assert errand.answered(answer._replace(retry_after=1e9)) == 300, "no server makes us wait for ever"
    assert errand.lost("connection refused") == 8
    assert errand.why == "connection refused"
    assert ids(errand.next) == ["p0", "p1"]


def test_progress_makes_the_waits_short_again():
    errand = Errand(batch(2), BACKOFF)
    for _ in range(4):
        errand.lost("no answer")
    assert errand.answered(told(some(sent(errand), {1: "queue_full"}))) == 1


@pytest.mark.parametrize("status", [400, 413])
def test_packet_that_spoils_a_batch_is_found_and_the_others_arrive_in_order(status):
    errand = Errand(batch(9), BACKOFF)
    requests = 0
    while errand.next:
        requests += 1
        spoilt = any(packet["id"] == "p5" for packet in sent(errand))
        answer = (status, {"detail": "no", "status": status}) if spoilt else taken(sent(errand))
        assert errand.answered(told(answer)) == 0
    assert ids(errand.accepted) == [f"p{i}" for i in range(9) if i != 5]
    assert [(one.id, one.code) for one in errand.refused] == [("p5", f"http_{status}")]
    assert requests < 12


@pytest.mark.parametrize(
    "answer",
    [
        (400, {"error": "this port speaks TLS"}),
        (401, {"detail": "show a valid API key"}), (403, {}), (404, {}), (301, {}), (200, {}), (202, {}),
        (202, []),
        (202, taken([{"id": "p0"}])[1]), (207, some([1, 2], {5: "invalid"})[1]),
        (207, some([1, 2], {-1: "invalid"})[1]),
    ],
)  # fmt: skip
def test_answer_of_something_else_is_an_error_and_everything_is_left(answer):
    errand = Errand(batch(2), BACKOFF)
    with pytest.raises(NotADistributor, match=f"it answers {answer[0]}: "):
        errand.answered(told(answer))
    assert ids(errand.left) == ["p0", "p1"]
    assert errand.failures == 1


@given(st.data())
def test_every_packet_ends_in_one_place_whatever_is_answered(data):
    errand = Errand(batch(data.draw(st.integers(0, 8))), BACKOFF)
    everything = set(ids(errand.left))
    for _ in range(30):
        if not errand.next:
            break
        packets = sent(errand)
        step = data.draw(st.sampled_from(["taken", "some", "full", "lost", "halve", "busy", "strange"]))
        codes = st.sampled_from(["queue_full", "invalid", "too_large"])
        refused = data.draw(st.dictionaries(st.integers(0, len(packets) - 1), codes, min_size=1))
        if step == "lost":
            errand.lost("gone")
        elif step == "strange":
            with pytest.raises(NotADistributor):
                errand.answered(PostAnswer(404, None, data.draw(st.binary(max_size=20))))
        else:
            answer = {
                "taken": taken(packets), "some": some(packets, refused), "full": some(packets, refused, 503),
                "halve": (413, {}), "busy": (429, {}),
            }[step]  # fmt: skip
            assert errand.answered(told(answer)) >= 0
        places = [ids(errand.accepted), ids(errand.refused), ids(errand.left)]
        assert sorted(chain.from_iterable(places)) == sorted(everything)
    assert errand.next == errand.left[: len(errand.next)]
