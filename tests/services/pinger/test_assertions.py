"""What assertions say of answers and runs, and which texts are none."""

import gzip
import pickle
import zlib
from types import SimpleNamespace

import pytest
from fake_engine import MS, answer_of
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.probing.exchange import TlsFacts
from penstock.services.pinger.assertions import SUBJECTS, Answer, InvalidAssertion, parse_assertion
from penstock.services.pinger.model import Hop

NOW = 1_736_510_400.0
DAY = 86_400


def judged(text, severity="fail", **answer):
    hops = (Hop("http://x/", answer_of(**answer)),)
    return parse_assertion(text, severity).judge(Answer(hops, 30 * MS, 45 * MS, NOW))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("status==200", {}),
        ("status == 2xx", {"status": 204}),
        ("status==200,301-308", {"status": 307}),
        ("status!=5xx", {"status": 404}),
        ("status<400", {"status": 399}),
        ("body~read[yi]", {"body": b"all ready now"}),
        ("body!~error", {"body": b"fine"}),
        ('body=="a b"', {"body": b"a b"}),
        ("body~ü", {"body": "grün".encode()}),
        ("body~^$", {}),
        ("header:Content-Type~json", {"headers": [("content-type", "application/json")]}),
        ("header:x-a==1, 2", {"headers": [("X-A", "1"), ("X-A", "2")]}),
        ("header:content-length<100", {"headers": [("Content-Length", "99")]}),
        ("json:db.up==true", {"body": b'{"db": {"up": true}}'}),
        ("json:items.1.name==b", {"body": b'{"items": [{"name": "a"}, {"name": "b"}]}'}),
        ("json:$.items[0]>=2", {"body": b'{"items": [2.5]}'}),
        ("json:gone==null", {"body": b'{"gone": null}'}),
        ("size<=5", {"body": b"hello"}),
        ("redirects==0", {}),
        ("dns<1ms", {}),
        ("connect<=20ms", {"connect": 20}),
        ("tls<0.2s", {"tls": 199}),
        ("ttfb<11ms", {"wait": 10}),
        ("transfer>1ms", {"transfer": 2}),
        ("service<31ms", {"wait": 10, "transfer": 20}),
        ("latency==30ms", {}),
        ("total<=45ms", {}),
        ("cert>14d", {"facts": TlsFacts("TLSv1.3", "x", not_after=NOW + 15 * DAY)}),
        ("tls-version==TLSv1.3", {"facts": TlsFacts("TLSv1.3", "x")}),
        ("address==192.0.2.1", {}),
    ],
)
def test_assertion_that_holds_is_ok(text, answer):
    verdict = judged(text, **answer)
    assert (verdict.severity, verdict.found) == ("ok", "")


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("status==200", {"status": 503}, "got 503"),
        ("status==2xx", {"status": 300}, "got 300"),
        ("body~ready", {"body": b"sorry,\nno"}, "got sorry, no"),
        ("body~ready", {"body": b"\x1b[2J" + b"x" * 100}, f"got \ufffd[2J{'x' * 56}…"),
        ("header:x-gone==1", {}, "there is none"),
        ("header:x-gone!~1", {}, "there is none"),
        ("header:x-n<5", {"headers": [("x-n", "many")]}, "got many"),
        ("json:a.b==1", {"body": b"{}"}, "there is none"),
        ("json:a==1", {"body": b"no json"}, "there is none"),
        ("json:a==1", {"body": b'{"a": "2"}'}, "got 2"),
        ("json:0==1", {"body": b"[" * 100_000}, "there is none"),
        ("json:99999999999==1", {"body": b"[1]"}, "there is none"),
        ("connect<20ms", {"connect": 20}, "got 20 ms"),
        ("latency<30ms", {}, "got 30 ms"),
        ("cert>14d", {}, "there is none"),
        ("cert>14d", {"facts": TlsFacts("x", "x", not_after=NOW + 3 * DAY)}, "got 3.0 d"),
        ("cert>0d", {"facts": TlsFacts("x", "x", not_after=NOW - 3600)}, "got -1.0 h"),
        ("size==6", {"body": b"hello"}, "got 5"),
        ("tls-version==TLSv1.3", {}, "there is none"),
    ],
)
def test_assertion_that_does_not_hold_says_what_there_was(text, answer, found):
    for severity in ("warn", "fail"):
        verdict = judged(text, severity, **answer)
        assert (verdict.severity, verdict.found) == (severity, found)
        assert str(verdict) == f"{text}: {found}"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_body_is_read_decompressed(coding):
    packed = gzip.compress(b"all ready") if coding == "gzip" else zlib.compress(b"all ready")
    assert judged("body~ready", body=packed, headers=[("Content-Encoding", coding)]).severity == "ok"


def test_body_that_is_not_compressed_as_it_says_is_read_as_it_is():
    assert judged("body~ready", body=b"ready", headers=[("Content-Encoding", "gzip")]).severity == "ok"


def test_compressed_bomb_does_not_go_off():
    bomb = gzip.compress(bytes(300 << 20), 9)
    hops = (Hop("http://x/", answer_of(body=bomb, headers=[("Content-Encoding", "gzip")])),)
    assert len(Answer(hops, 0, 0, NOW).text) == 1 << 20


RUN = SimpleNamespace(
    percentile=lambda share: share,
    least=0.1,
    most=2.5,
    mean=None,
    error_share=0.012,
    failed=3,
    rate=99.5,
    lag=0.0004,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("p50<=500ms", ""),
        ("p99.9<1s", ""),
        ("p99<300ms", "got 990.0 ms"),
        ("max<3s", ""),
        ("min>1s", "got 100.0 ms"),
        ("mean<1s", "there is none"),
        ("errors<1%", "got 1.2 %"),
        ("errors<=1.2%", ""),
        ("failed<4", ""),
        ("rate>=99.5/s", ""),
        ("rate>100", "got 99.5"),
        ("lag<1ms", ""),
    ],
)
def test_run_is_judged_by_its_figures(text, found):
    assertion = parse_assertion(text)
    assert assertion.of_run
    assert assertion.judge(RUN).found == found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be NAME OPERATOR VALUE"),
        ("status", "must be NAME OPERATOR VALUE"),
        ("status=200", "must be NAME OPERATOR VALUE"),
        ("speed<3", "'speed' cannot be asserted: choose of status, body"),
        ("p101<3s", "'p101' cannot be asserted"),
        ("status==ok", "a status must be such as 200, 2xx"),
        ("status~200", "must be compared with ==, !=, <, <=, > or >="),
        ("tls<200", "a duration must have its unit"),
        ("tls~200ms", "must be compared with =="),
        ("errors<1", "a share must be in percent"),
        ("errors<x%", "must be compared with a number"),
        ("size<nan", "must be compared with a number"),
        ("size<1e9", "must be compared with a number"),
        ("header~json", "header needs a key such as header:KEY"),
        ("status:x==200", "status takes no key"),
        ("body~(", "must be a regular expression"),
        ("body~" + "(" * 900, "must be a regular expression"),
        ("body~" + "x" * 1000, "must have at most 1000 characters, got 1005"),
    ],
)
def test_text_that_is_no_assertion_is_refused_with_the_rule(text, words):
    with pytest.raises(InvalidAssertion) as refused:
        parse_assertion(text)
    assert words in str(refused.value)
    assert isinstance(refused.value, PenstockError)
    assert isinstance(refused.value, ValueError)


@given(
    st.text(max_size=60)
    | st.builds("{}{}{}".format, st.sampled_from(sorted(SUBJECTS)), st.text(max_size=3), st.text())
)
def test_any_text_is_an_assertion_or_refused(text):
    try:
        assertion = parse_assertion(text)
    except InvalidAssertion:
        return
    assert assertion.judge(RUN if assertion.of_run else Answer((Hop("", answer_of()),), 1, 1, NOW))


def test_assertion_survives_its_way_to_another_process():
    assertion = pickle.loads(pickle.dumps(parse_assertion("status==200", "warn")))
    assert (assertion.text, assertion.severity, assertion.holds(200)) == ("status==200", "warn", True)
