"""What is recognised in a line, what is left alone, and that nothing of it is lost."""

import json
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.services.replay.parsers import (
    FORMATS,
    MAX_MESSAGE_BYTES,
    UNKNOWN,
    Message,
    cut,
    parse,
    split,
    text_message,
)

BERLIN = ZoneInfo("Europe/Berlin")

# line -> level, source, timestamp, metadata
TEXT_LINES = [
    (
        "<34>1 2003-10-11T22:14:15.003Z mymachine su 77 ID47 [a@1 b=\"c\"] 'su root' failed",
        ("CRITICAL", "su", "2003-10-11T22:14:15.003Z"),
        {"host": "mymachine", "pid": "77", "msgid": "ID47", "facility": "auth"},
    ),
    (
        "<165>1 - - - - - - nothing is known",
        ("NOTICE", "app.log", None),
        {"facility": "local4"},
    ),
    (
        "<38>Jun 14 15:16:01 combo sshd(pam_unix)[19939]: authentication failure",
        ("INFO", "sshd(pam_unix)", None),
        {"host": "combo", "pid": "19939", "facility": "auth"},
    ),
    (
        "Apr 28 04:02:03 tstack-centos5 syslogd 1.4.1: restart.",
        (UNKNOWN, "syslogd", None),
        {"host": "tstack-centos5"},
    ),
    ("<13>free text", ("NOTICE", "app.log", None), {"facility": "user"}),
    ("<999>free text", (UNKNOWN, "app.log", None), None),
    ("[Thu Jun 09 06:07:04 2005] [notice] LDAP: Built", ("NOTICE", "app.log", None), None),
    (
        "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636416] File does not exist",
        ("ERROR", "core", None),
        {"pid": "35708"},
    ),
    (
        '83.149.9.216 - - [17/May/2015:10:05:03 +0200] "GET /a HTTP/1.1" 200 203023 "-" "Mozilla/5.0"',
        ("INFO", "app.log", "2015-05-17T10:05:03+02:00"),
        {"client": "83.149.9.216", "status": "200"},
    ),
    (
        '::1 - frank [10/Oct/2000:13:55:36 -0700] "GET /\\"quoted\\" HTTP/1.0" 404 -',
        ("WARN", "app.log", "2000-10-10T13:55:36-07:00"),
        {"client": "::1", "status": "404"},
    ),
    (
        "[2016-12-19 16:31:47,437] INFO [Controller 0]: (again) up (kafka.controller.KafkaController)",
        ("INFO", "kafka.controller.KafkaController", None),
        None,
    ),
    (
        "2015-10-18 18:01:47,978 WARN [main] org.apache.hadoop.mapreduce.MRAppMaster: Created",
        ("WARN", "org.apache.hadoop.mapreduce.MRAppMaster", None),
        {"thread": "main"},
    ),
    (
        "2015-07-29 17:41:44,747 - INFO  [QuorumPeer[myid=1]/0:0:0:0:2181:FastLeaderElection@774] - text",
        ("INFO", "FastLeaderElection", None),
        {"thread": "QuorumPeer[myid=1]/0:0:0:0:2181"},
    ),
    ("17/06/09 20:10:40 INFO spark.SecurityManager: text", ("INFO", "spark.SecurityManager", None), None),
    (
        "081109 203615 148 WARN dfs.DataNode$PacketResponder: text",
        ("WARN", "dfs.DataNode$PacketResponder", None),
        {"pid": "148"},
    ),
    (
        "03-17 16:13:38.811  1702  2395 V Window Manager: text",
        ("TRACE", "Window Manager", None),
        {"pid": "1702", "tid": "2395"},
    ),
    (
        "nova-api.log.1 2017-05-16 00:00:00.008 25746 ERROR nova.wsgi.server [req-1] text",
        ("ERROR", "nova.wsgi.server", None),
        {"file": "nova-api.log.1", "pid": "25746"},
    ),
    (
        "- 1117838570 2005.06.03 R02-M1 2005-06-03-15.42.50.675872 R02-M1 RAS KERNEL INFO text",
        ("INFO", "KERNEL", "2005-06-03T22:42:50Z"),
        {"host": "R02-M1", "type": "RAS"},
    ),
    (
        "2025-08-13 01:45:01.123 PDT [12345] LOG:  starting PostgreSQL",
        ("INFO", "app.log", None),
        {"pid": "12345", "zone": "PDT"},
    ),
    (
        "2022-08-27T17:22:01.694554+03:00 space01.example CRON[20856]: (root) CMD",
        (UNKNOWN, "CRON", "2022-08-27T17:22:01.694554+03:00"),
        {"host": "space01.example", "pid": "20856"},
    ),
    (
        "2020-08-06T14:25:02.835618Z 0 [Warning] [MY-012487] text",
        ("WARN", "app.log", "2020-08-06T14:25:02.835618Z"),
        None,
    ),
    ("2025-04-24T22:09:20.854Z\tinfo\tMetrics", ("INFO", "app.log", "2025-04-24T22:09:20.854Z"), None),
    ("2016-12-19T16:31:43.706+0000: 0.5: [GC", (UNKNOWN, "app.log", "2016-12-19T16:31:43.706Z"), None),
    ("2003-07-08 16:49:45,896 - auth.user - ERROR - text", ("ERROR", "auth.user", None), None),
    (
        'logger=settings t=2025-04-24T19:51:48.520963849Z level=info msg="Starting"',
        ("INFO", "settings", "2025-04-24T19:51:48.520963849Z"),
        None,
    ),
    (
        "I0424 22:09:20.854321    1234 queue_sender.cc:128] text",
        ("INFO", "queue_sender.cc:128", None),
        {"pid": "1234"},
    ),
    ("ERROR: no such table", ("ERROR", "app.log", None), None),
    ("[WARN] mind the gap", ("WARN", "app.log", None), None),
    ("\tat org.example.Main.run(Main.java:5)", (UNKNOWN, "app.log", None), None),
    ("Errors were found, INFO follows", (UNKNOWN, "app.log", None), None),
    ("naïve ünïcode", (UNKNOWN, "app.log", None), None),
    ("\N{SNOWMAN} no ASCII at the start", (UNKNOWN, "app.log", None), None),
]


@pytest.mark.parametrize(
    ("line", "expected", "metadata"), TEXT_LINES, ids=[line[:30] for line, *_ in TEXT_LINES]
)
def test_text_line_stays_whole_and_its_facts_stand_beside_it(line, expected, metadata):
    message = parse(line, "app.log")
    assert message.message == line
    assert (message.level, message.source, message.timestamp) == expected
    assert message.metadata == metadata


def format_of(line):
    tried = (known for known in FORMATS if line[0] in (known.first or line[0]))
    return next((known.name for known in tried if known.pattern.match(line)), None)


def test_every_known_format_is_shown_by_a_line_above():
    assert {known.name for known in FORMATS} <= {format_of(line) for line, *_ in TEXT_LINES}


@pytest.mark.parametrize(
    ("time", "stamp"),
    [
        ("2016-12-19 16:31:47,437", "2016-12-19T16:31:47.437+01:00"),
        ("2016-07-19 16:31:47", "2016-07-19T16:31:47+02:00"),
        ("2016-12-19T16:31:47Z", "2016-12-19T16:31:47Z"),
        ("2016-12-19 16:31:47 -0330", "2016-12-19T16:31:47-03:30"),
        ("2016-12-19 16:31:47 UTC", "2016-12-19T16:31:47Z"),
        ("2016-12-19 16:31:47 PST", None),  # somebody's Pacific time
        ("2016-12-19 04:31:47 PM", None),
        ("2016-12-19 16:31:47 -1234", None),  # no place has that offset
        ("2016-02-30 16:31:47", None),
        ("2016-12-19 25:31:47", None),
        ("2016-12-31 23:59:60", None),
        ("2016-10-30 02:30:00", None),  # twice, when summer time ends
        ("2016-03-27 02:30:00", None),  # never, when it begins
        ("0016-12-19 16:31:47", None),
    ],
)
def test_time_becomes_a_timestamp_only_if_it_is_one_instant(time, stamp):
    assert parse(f"{time} text", "app.log", BERLIN).timestamp == stamp


def test_time_without_zone_is_left_out_unless_the_zone_is_known():
    line = "[Thu Jun 09 06:07:04 2005] [notice] text"
    assert parse(line, "app.log").timestamp is None
    assert parse(line, "app.log", BERLIN).timestamp == "2005-06-09T06:07:04+02:00"


def test_json_line_is_taken_apart():
    record = {"time": "2024-05-26T11:43:20.5+02:00", "severity": "warning", "logger": "db.pool",
              "msg": "slow", "took": 1.5, "nested": {"a": [1, None]}}  # fmt: skip
    assert parse(json.dumps(record), "app.jsonl") == Message(
        "WARN", "slow", "db.pool", "2024-05-26T11:43:20.5+02:00", {"took": 1.5, "nested": {"a": [1, None]}}
    )


@pytest.mark.parametrize(
    ("record", "level"),
    [
        ({"level": "debug2"}, "DEBUG"),
        ({"log.level": "info"}, "INFO"),
        ({"log": {"level": "error"}, "message": "x"}, "ERROR"),
        ({"level": 50}, "ERROR"),  # bunyan, pino
        ({"level": 3}, UNKNOWN),  # an error of syslog, a warning of others
        ({"level": True}, UNKNOWN),
        ({"level": "loud"}, UNKNOWN),
        ({"PRIORITY": "4"}, "WARN"),  # journald
        ({"Level": "2", "EventID": 4688}, "ERROR"),  # Windows
        ({"Level": "2"}, UNKNOWN),
    ],
)
def test_level_of_json_is_taken_where_its_meaning_is_known(record, level):
    message = parse(json.dumps({"message": "text", **record}), "app.jsonl")
    assert message.level == level
    if level == UNKNOWN:
        assert message.metadata == record


@pytest.mark.parametrize(
    ("value", "stamp"),
    [
        (1716723772, "2024-05-26T11:42:52Z"),
        (1716723772.6014807, "2024-05-26T11:42:52.6014807Z"),
        (1490385986240, "2017-03-24T20:06:26.240Z"),
        (1490386367764.0, "2017-03-24T20:12:47.7640Z"),
        ("1534860261221373", "2018-08-21T14:04:21.221373Z"),
        (1534860261221373001, "2018-08-21T14:04:21.221373001Z"),
        ("2013-09-06T20:00:48.124817Z", "2013-09-06T20:00:48.124817Z"),
        ("2013-09-06 20:00:48", None),
        ("yesterday", None),
        (12345, None),
        (5_000_000_000, None),
        (-1716723772, None),
        (1e300, None),
        (True, None),
        (None, None),
    ],
)
def test_time_of_json_is_taken_only_if_it_can_mean_one_thing(value, stamp):
    message = parse(json.dumps({"message": "text", "ts": value}), "app.jsonl")
    assert message.timestamp == stamp
    if stamp is None:
        assert message.metadata == {"ts": value}


@pytest.mark.parametrize(
    "line",
    [
        '{"no": "text in it"}',
        '{"message": ""}',
        '{"message": 5}',
        '{"message": "cut of',
        '{"message": "x"} and more',
        '{"message": "\\ud800"}',
        '{"message": NaN}',
        '{"message": 1e999}',
        "{" * 100_000,
        '{"message": "x", "deep": ' + "[" * 60 + "]" * 60 + "}",
        '{"message": "x", "long": "' + "y" * 70_000 + '"}',
    ],
)
def test_json_that_cannot_be_taken_apart_is_sent_as_it_stands(line):
    message = parse(line, "app.jsonl")
    assert message.message == line
    assert message.metadata is None


def test_nul_is_replaced_as_no_receiver_is_ready_for_it():
    assert parse("a\0b", "x").message == "a\N{REPLACEMENT CHARACTER}b"
    assert parse('{"message": "a\\u0000b"}', "x").message == "a\N{REPLACEMENT CHARACTER}b"


lines = st.text(min_size=1, max_size=200) | st.from_regex(
    r"[<\[]?(\d{1,4}[-:/ .,T]){0,8}[ \]>]{0,2}(INFO|err|\w{0,9})[ :=\[(]{0,3}.{0,40}", fullmatch=True
).filter(bool)  # an empty line never reaches parse


@given(lines, st.sampled_from([None, BERLIN]))
def test_any_line_becomes_a_message_the_distributor_takes(line, zone):
    message = parse(line, "file" * 100, zone)
    if message.metadata is None and not line.startswith("{"):
        assert message.message == line.replace("\0", "\N{REPLACEMENT CHARACTER}")
    assert 1 <= len(message.level) <= 32
    assert 1 <= len(message.source.encode(errors="surrogatepass")) <= 256
    if message.timestamp is not None:
        assert datetime.fromisoformat(message.timestamp).tzinfo is not None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
json_keys = st.sampled_from(["level", "severity", "message", "msg", "time", "ts", "t", "log", "host", "s"])


@given(st.dictionaries(json_keys | st.text(max_size=9), json_values, max_size=6))
def test_no_field_of_a_json_line_is_lost(record):
    line = json.dumps(record)
    message = parse(line, "app.jsonl")
    if message.message == line.replace("\0", "\N{REPLACEMENT CHARACTER}"):
        return  # it went as it stands
    kept = message.metadata or {}
    assert all(record[name] == value for name, value in kept.items())
    assert len(record) - len(kept) <= 4  # message, level, time and source have moved
    for value in (record[name] for name in record.keys() - kept.keys()):
        moved = (message.message, message.source)
        assert value in moved or message.timestamp or message.level != UNKNOWN or "\0" in str(value)


@pytest.mark.parametrize(
    "line",
    [
        "[", "<", "(", " ", "a.log.", "a ", "a=", "[2016-12-19 16:31:47] INFO (", "1 ", '\\"', "2015-",
        ":@1", "a: ", "{", "[{", "level", "- ", "x=level ", "2015-07-29 17:41:44 - INFO [:a@1",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "start",
    ["", "[2016-12-19 16:31:47] INFO ", "2015-07-29 17:41:44,747 - INFO [", "x=1 ", "<1>1 ",
     "Jun 14 15:16:01 ", '1.1.1.1 - - [17/May/2015:10:05:03 +0200] "', "03-17 16:13:38.811 1 1 D "],
)  # fmt: skip
def test_hostile_line_takes_time_linear_in_its_length(start, line):
    repeated = (line * 200_000)[:200_000]
    began = time.process_time()
    text_message(start + repeated, "app.log", None)
    assert time.process_time() - began < 1  # quadratic patterns need minutes for it


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200), st.integers(4, 60))
def test_pieces_of_a_text_joined_are_the_text(text, limit):
    pieces = cut(text, limit)
    assert "".join(pieces) == text
    assert all(len(piece.encode()) <= limit for piece in pieces)
    assert all(pieces) or text == ""
    assert all(len(piece.encode()) > limit - 4 for piece in pieces[:-1])


@pytest.mark.parametrize("character", ["a", "ä", "€", "🌊"])
def test_message_too_long_for_one_is_split_between_characters(character):
    text = character * 25_000
    whole = Message("INFO", text, "app.log", "2024-05-26T11:42:52Z", {"host": "a"})
    parts = split(whole)
    assert "".join(part.message for part in parts) == text
    assert all(len(part.message.encode()) <= MAX_MESSAGE_BYTES for part in parts)
    assert parts[0].metadata == {"host": "a", "part": 1, "parts": len(parts)}
    assert parts[-1].metadata == {"part": len(parts), "parts": len(parts)}
    assert {(part.level, part.source, part.timestamp) for part in parts} == {
        ("INFO", "app.log", "2024-05-26T11:42:52Z")
    }


def test_message_of_exactly_the_limit_stays_whole():
    whole = Message("INFO", "ä" * (MAX_MESSAGE_BYTES // 2), "app.log")
    assert split(whole) == [whole]
