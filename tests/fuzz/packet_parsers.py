"""The reader of requests to the REST API: its twins make the same of any bytes, and lines of JSON."""

import json
import re

from fuzz.parsing import Parser
from penstock.services.distributor._packet_scan_c import PacketReader as CompiledReader
from penstock.services.distributor._packet_scan_py import PacketReader as PlainReader
from penstock.services.distributor.config import Config
from penstock.services.distributor.packets import Refusal, UnreadableRequest

LIMITS = Config(max_packets=6, max_messages=4, max_message_bytes=30, max_packet_bytes=400)
COMPILED, PLAIN = CompiledReader(LIMITS), PlainReader(LIMITS)
OWN_ID = re.compile(rb'"[0-9a-f]{16}-[0-9a-f]+"}\Z')

SAMPLES = (
    b'[{"messages":[{"message":"hello","level":"INFO","source":"s","timestamp":"2025-01-25T20:30:45.5+01:00",'
    b'"id":"m","metadata":{"a":[1,-2.5e+3,{"b":"c \\u00e9"}],"n":null,"t":true}}],"id":"abc","retry_count":3'
    b"}]",
    b'[ {"id":"\xc3\xa9", "messages" : [ {"message":"\\u0041\\ud83d\\ude00\\/ \xc3\xa9\\n"},\n'
    b'{"message":"y","metadata":{ }} ] } , {"messages":[{"level":"x","message":"q","timestamp":null,"id":null'
    b"}]} ]",
    b'[{"messages":[{"message":"x"}]},{"messages":[{"message":"y"}],"id":"a"},{"messages":[{"message":"z"}],'
    b'"id":"a"},1,null,{}]',
)
WORDS = (
    b"\x7f", b"\x80", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80",
    b"\\u0041", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\/", b"\\n", b"null", b"true", b"1e9",
    b"+23:59", b'"id":"a",', b'"messages":', b'"message":"w",', b'"metadata":{},', b'"level":"L",',
    b'"retry_count":1,', b'"timestamp":"2025-01-25T20:30:45Z",', b'{"messages":[{"message":"x"}]},',
    b"[" * 70, b"]" * 70, b'{"":' * 70,
)  # fmt: skip

Outcome = tuple[list[tuple[str, int, bytes]], list[int], list[Refusal]] | str


def outcome(reader: CompiledReader | PlainReader, body: bytes) -> Outcome:
    """What a reader makes of a body, but for the ids that it makes."""
    try:
        packets, indexes, refused = reader.read(body)
    except UnreadableRequest as error:
        return str(error)
    made = []
    for packet in packets:
        line = packet.body or b""
        assert packet.size == len(line) <= LIMITS.max_packet_bytes
        made.append(
            (packet.id, packet.messages, line)
            if packet.id_is_clients
            else ("", packet.messages, OWN_ID.sub(b"", line))
        )
    return made, list(indexes), refused


def read(body: bytes) -> None:
    """Reads a body with both twins."""
    compiled = outcome(COMPILED, body)
    assert compiled == outcome(PLAIN, body)
    if isinstance(compiled, str):
        assert len(compiled) < 1000
        return
    made, indexes, refused = compiled
    assert sorted([*indexes, *(one.index for one in refused)]) == list(range(len(made) + len(refused)))
    for _, messages, line in made:
        assert b"\n" not in line
        if line.endswith(b"}"):
            assert len(json.loads(line)["messages"]) == messages


PARSERS = {"packets": Parser(read, SAMPLES, WORDS)}
