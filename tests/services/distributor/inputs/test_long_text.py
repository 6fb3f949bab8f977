"""Texts that are too long for one record: all of them comes out, in records that are taken."""

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from penstock.services.distributor.config import Config
from penstock.services.distributor.inputs.long_text import RecordLengths
from penstock.services.distributor.packets import Message
from penstock.services.distributor.records import RecordBundler, decode
from services.distributor.inputs.stream_intake import Everywhere


def test_a_short_text_is_one_record():
    (record,) = RecordLengths(Config()).records(Message("hello", source="app"))
    assert decode(record) == Message("hello", source="app")


@settings(deadline=None)
@given(
    st.text(st.sampled_from('aé€😀"\\\n\x01'), min_size=1, max_size=3000),
    st.integers(4, 3000),
    st.integers(1500, 20_000),
    st.one_of(st.none(), st.integers(0, 300)),
)
@example("\x01" * 3000, 3000, 1500, 300)
def test_parts_are_taken_by_the_intake_and_make_up_the_text(text, most_text, most_packet, metadata):
    config = Config(max_record_bytes=most_text, max_packet_bytes=most_packet)
    about = UNSET if metadata is None else msgspec.Raw(msgspec.json.encode({"k": "v" * metadata}))
    records = RecordLengths(config).records(Message(text, level="WARN", source="app", metadata=about))
    parts = [decode(record) for record in records]
    assert "".join(part.message for part in parts) == text
    assert {(part.level, part.source, bytes(part.metadata or b"")) for part in parts} == {
        ("WARN", "app", bytes(about or b""))
    }
    assert RecordBundler(config, Everywhere()).bundle(records).refused == []


def test_metadata_too_large_for_a_record_is_text_and_not_in_every_part():
    config = Config(max_record_bytes=1000, max_packet_bytes=10_000)
    about = msgspec.Raw(msgspec.json.encode({"k": "v" * 9_000}))
    message = Message("x" * 5_000, level="WARN", source="app", metadata=about)
    records = RecordLengths(config).records(message)
    assert sum(map(len, records)) < 3 * len(msgspec.json.encode(message))
    assert decode("".join(decode(each).message for each in records).encode()) == message
    assert {(decode(each).level, decode(each).source) for each in records} == {("WARN", "app")}
    assert RecordBundler(config, Everywhere()).bundle(records).refused == []
