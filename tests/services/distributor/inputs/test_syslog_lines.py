"""Syslog made into records: what each RFC says, what real senders send, and that both twins agree."""

import json
import re
import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from penstock.services.distributor.inputs._syslog_lines_py import EXTRA_BYTES
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import decode
from twins import both_twins, load

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of lark, which it stands on
    from syslog_rfc5424_parser import ParseError, SyslogMessage

MODULE = "penstock.services.distributor.inputs.syslog_lines"
SyslogLines = both_twins(MODULE)

LARGE = 2**30


def one(lines, frame):
    (record,) = lines.datagram(frame)
    decode(record)  # what the intake takes
    return json.loads(record)


def texts(records):
    return [json.loads(record)["message"] for record in records]


@pytest.fixture
def lines(SyslogLines):
    made = SyslogLines(256 * 1024, 2**20)
    made.set_date(2026, 11, 60)
    return made


# ---- RFC 5424 ----


def test_every_field_of_rfc_5424_has_its_place(lines):
    frame = (
        b'<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 111 ID47 [exampleSDID@32473 iut="3"'
        b' eventSource="Application"][examplePriority@32473 class="high"] \xef\xbb\xbfAn application event'
    )
    assert one(lines, frame) == {
        "message": "An application event",
        "level": "NOTICE",
        "source": "evntslog",
        "timestamp": "2003-10-11T22:14:15.003Z",
        "metadata": {
            "facility": "local4",
            "host": "mymachine.example.com",
            "proc_id": "111",
            "msg_id": "ID47",
            "structured_data": {
                "exampleSDID@32473": {"iut": "3", "eventSource": "Application"},
                "examplePriority@32473": {"class": "high"},
            },
        },
    }


def test_what_is_nil_is_left_out(lines):
    assert one(lines, b"<34>1 - - - - - - hello") == {
        "message": "hello",
        "level": "CRITICAL",
        "source": "",
        "metadata": {"facility": "auth"},
    }


@pytest.mark.parametrize(
    ("severity", "level"),
    list(enumerate(["EMERGENCY", "ALERT", "CRITICAL", "ERROR", "WARNING", "NOTICE", "INFO", "DEBUG"])),
)
def test_severity_becomes_the_level(lines, severity, level):
    assert one(lines, b"<%d>1 - - - - - - x" % (16 * 8 + severity))["level"] == level


def test_escapes_of_structured_data_are_undone_and_nothing_else_is(lines):
    record = one(lines, rb'<13>1 - - - - - [a b="\"\\\]\n]\\\"" c=""] x')
    assert record["metadata"]["structured_data"] == {"a": {"b": '"\\]\\n]\\"', "c": ""}}


@pytest.mark.parametrize(
    "data",
    [
        '[a x="1" x="2"]',
        '[a x="1"][a y="2"]',
        "".join(f'[a{i} x="1"]' for i in range(33)),
        "[a" + "".join(f' n{i}="1"' for i in range(65)) + "]",
    ],
)
def test_structured_data_that_no_object_can_hold_stays_text(lines, data):
    assert one(lines, f"<13>1 - - - - - {data} x".encode())["metadata"]["structured_data"] == data


def test_a_message_without_text_is_kept_whole(lines):
    for frame in (b"<13>1 - host app - - -", b'<13>1 - host app - - [a b="c"]', b"<13>1 - host app - - - "):
        record = one(lines, frame)
        assert record["message"] == frame.decode()
        assert record["source"] == "app"


@pytest.mark.parametrize(
    "rest",
    [
        "2 - - - - - - x",
        "1 2003-13-11T22:14:15Z - - - - - x",
        "1 2003-10-11T22:14:15 - - - - - x",
        "1 2003-10-11T22:14:15.1234567890Z - - - - - x",
        "1 - - - - -",
        '1 - - - - - [a b="c" x',
        '1 - - - - - [a b="c"]x',
        '1 - - - - - [ b="c"] x',
        "1 - - - - - [a b=c] x",
        "1 - " + "h" * 256 + " - - - - x",
        "1 - - - - - " + '[a b="' + "v" * 16_384 + '"] x',
    ],
)
def test_a_broken_header_stays_in_the_text_behind_the_priority(lines, rest):
    record = one(lines, b"<11>" + rest.encode())
    assert record == {"message": rest, "level": "ERROR", "source": "", "metadata": {"facility": "user"}}


# ---- RFC 3164 ----


@pytest.mark.parametrize(
    ("rest", "text", "source", "timestamp", "metadata"),
    [
        ("Oct 11 22:14:15 mymachine su: 'su root' failed", "'su root' failed", "su",
         "2026-10-11T22:14:15+01:00", {"host": "mymachine"}),
        ("Feb  5 17:32:18 10.0.0.99 sshd[4123]: Accepted", "Accepted", "sshd",
         "2026-02-05T17:32:18+01:00", {"host": "10.0.0.99", "proc_id": "4123"}),
        ("Feb 5 17:32:18.123 host app[1] no colon", "no colon", "app",
         "2026-02-05T17:32:18.123+01:00", {"host": "host", "proc_id": "1"}),
        ("Nov 30 23:59:60 postfix/smtpd[12]: no host", "no host", "postfix/smtpd",
         "2026-11-30T23:59:60+01:00", {"proc_id": "12"}),
        ("Nov 30 01:02:03 kernel: no host", "no host", "kernel", "2026-11-30T01:02:03+01:00", {}),
        ("Nov 30 01:02:03 fe80::1 app: six", "six", "app", "2026-11-30T01:02:03+01:00", {"host": "fe80::1"}),
        ("Nov 30 01:02:03 host no tag", "no tag", "", "2026-11-30T01:02:03+01:00", {"host": "host"}),
        ("Nov 30 01:02:03 alone", "alone", "", "2026-11-30T01:02:03+01:00", {}),
        ("2003-08-24T05:14:15.000003-07:00 192.0.2.1 app:tight", "tight", "app",
         "2003-08-24T05:14:15.000003-07:00", {"host": "192.0.2.1"}),
    ],
)  # fmt: skip
def test_a_header_by_rfc_3164_is_read(lines, rest, text, source, timestamp, metadata):
    assert one(lines, b"<38>" + rest.encode()) == {
        "message": text,
        "level": "INFO",
        "source": source,
        "timestamp": timestamp,
        "metadata": {"facility": "auth", **metadata},
    }


@pytest.mark.parametrize(
    "rest",
    ["Feb 30 17:32:18 h a: x", "Feb 29 17:32:18 h a: x", "Okt 11 22:14:15 h a: x", "Oct 11 24:14:15 h a: x",
     "Oct 11 22:14:15", "Oct  11 22:14:15 h a: x", "Use the BFG!", "Oct 0 22:14:15 h a: x"],
)  # fmt: skip
def test_what_no_rfc_knows_stays_text(lines, rest):
    record = one(lines, b"<0>" + rest.encode())
    assert record == {"message": rest, "level": "EMERGENCY", "source": "", "metadata": {"facility": "kern"}}


@pytest.mark.parametrize("frame", ["no priority", "<192>x", "<>x", "<1x", "<0001>x", "<a>x", "<13", "<13>"])
def test_a_frame_without_priority_is_a_notice_of_the_user_and_kept_whole(lines, frame):
    record = one(lines, frame.encode())
    assert record == {"message": frame, "level": "NOTICE", "source": "", "metadata": {"facility": "user"}}


@pytest.mark.parametrize(
    ("month", "name", "year"),
    [(1, "Dec", 2025), (1, "Jan", 2026), (12, "Jan", 2027), (7, "Jan", 2026), (6, "Dec", 2025),
     (11, "Dec", 2026)],
)  # fmt: skip
def test_the_year_is_the_latest_that_is_not_far_ahead(SyslogLines, month, name, year):
    lines = SyslogLines(1000, LARGE)
    lines.set_date(2026, month, -210)
    assert one(lines, f"<1>{name} 11 22:14:15 h a: x".encode())[
        "timestamp"
    ] == f"{year}-{{}}-11T22:14:15-03:30".format("01" if name == "Jan" else "12")


def test_the_29th_of_february_is_a_day_of_leap_years_only(SyslogLines):
    lines = SyslogLines(1000, LARGE)
    lines.set_date(2028, 3, 0)
    assert one(lines, b"<1>Feb 29 22:14:15 h a: x")["timestamp"] == "2028-02-29T22:14:15Z"
    lines.set_date(2100, 3, 0)
    assert "timestamp" not in one(lines, b"<1>Feb 29 22:14:15 h a: x")


# ---- text ----


def test_bytes_that_are_no_utf_8_become_replacement_characters(lines):
    raw = b"caf\xe9 \xe2\x82 \xf0\x9f\x98\x80 \xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xe2"
    assert one(lines, raw)["message"] == raw.decode("utf-8", "replace")


def test_every_control_and_every_quote_is_escaped(lines):
    raw = b"x" + bytes(range(1, 128)) + b"x"
    assert one(lines, raw)["message"] == raw.decode()


def test_an_empty_datagram_makes_no_record(lines):
    assert lines.datagram(b"") == lines.datagram(b"\r\n\0") == []


# ---- frames ----


def test_lines_and_counted_frames_are_told_apart_one_by_one(lines):
    stream = b"<1>a\n8 <1>b\nb c\n5 <1>de<2>f\0007 apples\n0 <1>x\n5 <1>g\n<3>h\r\n\n\0\n12345678901 <1>i\n"
    records, done = lines.read(stream)
    assert texts(records) == ["a", "b\nb c", "de", "f", "7 apples", "0 <1>x", "g", "h", "12345678901 <1>i"]
    assert done == len(stream)
    assert lines.continued == 0


def test_an_unfinished_frame_waits(lines):
    assert lines.read(b"<1>unfini") == ([], 0)
    assert lines.wanted == 0
    records, done = lines.read(b"<1>unfinished\n<2>ne")
    assert texts(records) == ["unfinished"]
    assert done == 14


def test_a_counted_frame_says_how_much_it_waits_for(lines):
    assert lines.read(b"10") == ([], 0)
    assert lines.read(b"10 ") == ([], 0)
    assert lines.read(b"10 <1>ab") == ([], 3)
    assert lines.wanted == 10
    records, done = lines.read(b"<1>abcdefg<1>h")
    assert (texts(records), done) == (["abcdefg"], 10)


def test_the_end_of_a_stream_gives_out_what_is_there(lines):
    records, done = lines.read(b"<1>a\n<1>unfinished", True)
    assert (texts(records), done) == (["a", "unfinished"], 18)


@pytest.mark.parametrize("counted", [False, True])
def test_a_frame_that_is_too_long_comes_out_as_several_records_with_one_header(SyslogLines, counted):
    lines = SyslogLines(1000, LARGE)
    frame = b"<11>1 2003-10-11T22:14:15Z host app 7 - - " + "aä€😀".encode() * 10_000
    stream = b"%d %s<1>next\n" % (len(frame), frame) if counted else frame + b"\n<1>next\n"
    records, done = lines.read(stream)
    *long, behind = [json.loads(record) for record in records]
    assert done == len(stream)
    assert "".join(record["message"] for record in long) == "aä€😀" * 10_000
    assert all(len(record["message"].encode()) <= 1000 for record in long)
    assert {json.dumps({**record, "message": ""}) for record in long} == {
        json.dumps({**long[0], "message": ""})
    }
    assert behind["message"] == "next"
    assert lines.continued == len(long) - 1 > 99


def test_a_text_that_json_makes_too_long_comes_out_as_several_records(SyslogLines):
    lines = SyslogLines(65_536, 65_536)
    records = lines.datagram(b"<1>" + b"\x01" * 65_535 + b"x")
    assert all(len(record) <= 65_536 for record in records)
    assert "".join(texts(records)) == "\x01" * 65_535 + "x"
    assert len(records) == 7


def test_a_cut_frame_goes_on_with_the_same_header(lines):
    first, done = lines.read(b"34 <1>Nov 30 01:02:03 h a: some te", True)
    assert done == 34
    assert lines.read(b"xt", False) == ([], 0)
    assert lines.wanted == 3
    rest, done = lines.read(b"xt.<1>e\n")
    assert texts(first + rest) == ["some te", "xt.", "e"]
    assert json.loads(rest[0]) == {**json.loads(first[0]), "message": "xt."}
    assert lines.continued == 1


@pytest.mark.parametrize("limits", [(0, 1), (1, 0), (2**30 + 1, 1), (1, 2**30 + 1)])
def test_limits_out_of_range_are_refused(SyslogLines, limits):
    with pytest.raises(ValueError, match=r"^most_(text|record) must be 1 to 1073741824 bytes, got \d+$"):
        SyslogLines(*limits)


@pytest.mark.parametrize(
    "date", [(0, 1, 0), (9999, 1, 0), (2026, 0, 0), (2026, 13, 0), (2026, 1, 1440), (2026, 1, -1440)]
)
def test_dates_out_of_range_are_refused(SyslogLines, date):
    with pytest.raises(ValueError, match=r"^(year|month|offset) must be "):
        SyslogLines(1, 1).set_date(*date)


# ---- any bytes ----

PIECES = [
    b'<34>1 ', b'<13>', b'<191>1 ', b'<192>', b'<0>', b'1 ', b'2003-10-11T22:14:15.003Z ',
    b'2003-10-11t22:14:15-07:00 ', b'Oct 11 22:14:15 ', b'Feb 29 01:02:03.5 ', b'Jan  1 00:00:00 ',
    b'Dec 31 23:59:60 ', b'- ', b'host ', b'app ', b'app[12]: ', b'tag: ', b'[x] ', b'fe80::1 ',
    b'%ASA-6-302013: ', b'[id@1 a="b"]', b'[id@1 a="b" c="\\"\\]\\\\"]', b'[x y="', b'"]', b' z="\xc3\xa9"',
    b' ', b'\n', b'\x00', b'\r\n', b'5 <1>a', b'12 <1>', b'300 <1>', b'99999999 <', b'7 ', b'\\', b'"',
    b']', b'\xef\xbb\xbf', b'\xe2\x82\xac', b'\xe2\x82', b'\xf0\x9f\x98\x80', b'\xff', b'\xed\xa0\x80',
    b'\x01', b'\x7f', b'text of a message ', b'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx',
    b'\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4',
    b'\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]\\]', b'=', b':', b'[', b'<',
]  # fmt: skip
FRAGMENTS = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=4)), max_size=40).map(b"".join)
LIMITS = st.tuples(st.sampled_from([1, 2, 3, 7, 40, 1000]), st.sampled_from([1, 65_536, LARGE]))


def read_all(lines, chunks, cuts):
    records, left = [], b""
    for chunk, cut in zip(chunks, cuts, strict=True):
        left += chunk
        found, done = lines.read(left, cut)
        records += found
        left = left[done:]
    return records, left, lines.wanted, lines.continued


@settings(max_examples=500, deadline=None)
@given(LIMITS, st.lists(st.tuples(FRAGMENTS, st.booleans()), max_size=5), st.integers(1, 12))
@example((1, 1), [(b'<13>1 - - - - - [a b="\\\\\\]"] \xff', True)], 1)
def test_twins_agree_on_any_stream(limits, fed, month):
    results = []
    for impl in ("c", "py"):
        lines = load(MODULE, impl)(*limits)
        lines.set_date(2025, month, 90)
        results.append(read_all(lines, [chunk for chunk, _ in fed], [cut for _, cut in fed]))
    assert results[0] == results[1]
    for record in results[0][0]:
        decode(record)


@settings(max_examples=300, deadline=None)
@given(LIMITS, FRAGMENTS)
def test_twins_agree_on_any_datagram(limits, data):
    compiled, plain = (load(MODULE, impl)(*limits) for impl in ("c", "py"))
    assert compiled.datagram(data) == plain.datagram(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(FRAGMENTS, max_size=8))
def test_how_a_stream_comes_makes_no_difference(chunks):
    lines = load(MODULE, "c")
    piecemeal = read_all(lines(40, LARGE), chunks, [False] * len(chunks))
    together = read_all(lines(40, LARGE), [b"".join(chunks)], [False])
    assert piecemeal[:2] == together[:2]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), st.integers(1, 300), st.booleans())
def test_long_frames_do_not_depend_on_how_they_come_either(most, step, counted):
    frame = b"<1>" + "xä€😀".encode() * ((most + EXTRA_BYTES) // 5)
    stream = (b"%d %s" % (len(frame), frame) if counted else frame + b"\n") + b"<2>y\n"
    chunks = [stream[at : at + 50 * step] for at in range(0, len(stream), 50 * step)]
    lines = load(MODULE, "c")
    assert (
        read_all(lines(most, LARGE), chunks, [False] * len(chunks))[:2]
        == (read_all(lines(most, LARGE), [stream], [False])[:2])
    )


# ---- an independent reader of RFC 5424 ----

PRINTED = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)
NAMES = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='=]" '), min_size=1, max_size=32
)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20)
TIMES = st.datetimes().map(lambda time: time.isoformat() + "Z")


def escaped(value):
    return re.sub(r'(["\\\]])', r"\\\1", value)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 191), TIMES, PRINTED, PRINTED, PRINTED, PRINTED,
    st.dictionaries(NAMES, st.dictionaries(NAMES, VALUES, max_size=4), max_size=3),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
)  # fmt: skip
def test_an_independent_parser_reads_the_same(priority, time, host, app, process, message_id, data, text):
    elements = "".join(
        f"[{name}" + "".join(f' {key}="{escaped(value)}"' for key, value in inside.items()) + "]"
        for name, inside in data.items()
    )
    header = f"<{priority}>1 {time} {host[:255]} {app[:48]} {process[:128]} {message_id[:32]}"
    frame = f"{header} {elements or '-'} {text}"
    try:
        theirs = SyslogMessage.parse(frame)
    except ParseError:  # it knows fewer characters than the RFC
        return
    lines = load(MODULE, "c")(2**20, LARGE)
    ours = one(lines, frame.encode())
    metadata = ours["metadata"]
    assert ours["message"] == text == theirs.msg
    assert ours["source"] == ("" if theirs.appname is None or theirs.appname == "-" else theirs.appname)
    assert metadata.get("host") == (None if theirs.hostname in (None, "-") else theirs.hostname)
    assert metadata.get("proc_id") == (None if theirs.procid in (None, "-") else str(theirs.procid))
    assert metadata.get("msg_id") == (None if theirs.msgid in (None, "-") else theirs.msgid)
    assert metadata.get("structured_data", {}) == data
    assert isinstance(decode(json.dumps(ours).encode()), Message)
