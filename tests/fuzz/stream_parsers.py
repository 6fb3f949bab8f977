"""Parsers of the inputs that are no HTTP: syslog, whose twins make the same of any bytes, and forward."""

import gzip
import struct

import msgspec

from fuzz.parsing import Parser
from penstock.services.distributor.config import Config
from penstock.services.distributor.inputs._syslog_lines_c import SyslogLines as CompiledLines
from penstock.services.distributor.inputs._syslog_lines_py import SyslogLines as PlainLines
from penstock.services.distributor.inputs.forward import BadForward, Handshake, events_of, records_of
from penstock.services.distributor.inputs.long_text import RecordLengths
from penstock.services.distributor.inputs.msgpack import BadMessagePack, MessagePackStream, decoded
from penstock.services.distributor.records import decode

MOST_TEXT, MOST_RECORD = 100, 70_000
MOST_MESSAGE = 10_000
LENGTHS = RecordLengths(Config(max_record_bytes=MOST_TEXT))

pack = msgspec.msgpack.encode


# ---- syslog ----

SYSLOG_SAMPLES = (
    b'<165>1 2003-10-11T22:14:15.003Z host app 1 ID47 [a@1 iut="3" s="\\"\\]"][b@2 c="\xc3\xa9"] text\n',
    b"<34>Oct 11 22:14:15 host su[12]: 'su root' failed\n<13>Feb  5 17:32:18 10.0.0.9 Use the BFG!\0",
    b"<13>1 - - - - - - \xef\xbb\xbfhello\n26 <14>1 - h - - - - two\nlines<0>x\r\n\n12 <1>notcounted",
    b"no header\n<191>2003-08-24T05:14:15.000003-07:00 192.0.2.1 %ASA-6-302013: Built\n"
    + b"<1>"
    + b"z" * 300,
)
SYSLOG_WORDS = (
    b"<34>1 ", b"<191>", b"<192>", b"- ", b"- - - - - ", b"Oct 11 22:14:15 ", b"Feb 29 01:02:03.5 ",
    b"app[1]: ", b"2003-10-11t22:14:15+23:59 ", b'[a b="c"]', b'"]', b'\\"', b"\\\\", b"\xef\xbb\xbf",
    b"\xe2\x82", b"\xff", b"\xf0\x9f\x98\x80", b"5 <1>a", b"300 <1>", b"999999999 <", b"\n", b"\0",
    b"[" * 40, b"x" * 120,
)  # fmt: skip


def read_syslog(data: bytes) -> None:
    """Reads a stream, in two pieces, with both twins."""
    half = len(data) // 2
    outcomes = []
    for lines in (CompiledLines(MOST_TEXT, MOST_RECORD), PlainLines(MOST_TEXT, MOST_RECORD)):
        lines.set_date(2026, 11, 60)
        records, done = lines.read(data[:half])
        more, done_too = lines.read(data[done:], True)
        assert done + done_too == len(data)
        outcomes.append((records, more, lines.continued, lines.datagram(data)))
    assert outcomes[0] == outcomes[1]
    records, more, _, datagrams = outcomes[0]
    for record in (*records, *more, *datagrams):
        assert len(record) <= MOST_RECORD
        assert len(decode(record).message.encode()) <= MOST_TEXT


# ---- forward ----

EVENTS = [[1, {"log": "x", "level": "warn", "n": [1.5, None, {"a": True}]}], [2.5, {"message": "é"}]]
PACKED = b"".join(map(pack, EVENTS))
FORWARD_SAMPLES = (
    pack(["app", EVENTS, {"chunk": "abc", "size": 2}]),
    pack(["app", PACKED, None]),
    pack(["app", gzip.compress(PACKED, mtime=0), {"compressed": "gzip", "chunk": b"\xff"}]),
    pack(["app", msgspec.msgpack.Ext(0, struct.pack(">II", 1, 2)), {"log": "y" * 300}]) + pack(None),
)
FORWARD_WORDS = (
    b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\x7f\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
    b"\xdb\x00\x01\x00\x00", b"\xd7\x00" + bytes(8), b"\xd6\xff\x00\x00\x00\x01", b"\xc7\x00\x05",
    b"\x91" * 100, b"\x81" * 100, b"\xa1\xff", b"\x81\xc0\xc0", b"\x92\x01\x80", b"\xcb\x7f\xf8" + bytes(6),
    b"\xcf" + b"\xff" * 8, pack("compressed"),
)  # fmt: skip


def read_forward(data: bytes) -> None:
    """Reads a stream of messages and the events in them."""
    try:
        for frame in MessagePackStream(MOST_MESSAGE).feed(data):
            events = events_of(frame, MOST_MESSAGE)
            if events is None:
                continue
            assert len(events.entries) <= MOST_MESSAGE
            for records in records_of(events, LENGTHS):
                for record in records:
                    assert len(decode(record).message.encode()) <= MOST_TEXT
    except (BadMessagePack, BadForward):
        return


def read_ping(data: bytes) -> None:
    """Answers a handshake: nobody is let in who does not know the key."""
    try:
        answer, reason = Handshake("a key that nobody guesses", "server").answer(data)
    except BadForward:
        return
    assert reason
    assert decoded(answer)[1] is False


PARSERS = {
    "syslog": Parser(read_syslog, SYSLOG_SAMPLES, SYSLOG_WORDS),
    "forward": Parser(read_forward, FORWARD_SAMPLES, FORWARD_WORDS),
    "forward_ping": Parser(
        read_ping, (pack(["PING", "client", b"salt", "0" * 128, "user", "digest"]),), FORWARD_WORDS
    ),
}
