"""The order of example 44, byte for byte: protobuf beside JSON."""

import json

import pytest

ORDER = {"order_id": 7821, "item_sku": "WIDGET-A-PREMIUM", "quantity": 5, "price_cents": 2999}
AS_THE_EXAMPLE_WRITES_IT = bytes.fromhex("088d3d180520b71712105749444745542d412d5052454d49554d")
BY_FIELD_NUMBER = bytes.fromhex("088d3d12105749444745542d412d5052454d49554d180520b717")


def test_order_is_written_by_field_number(Order):
    assert Order(**ORDER).to_bytes() == BY_FIELD_NUMBER


def test_both_orders_of_the_fields_are_read(Order):
    assert Order.from_bytes(AS_THE_EXAMPLE_WRITES_IT) == Order.from_bytes(BY_FIELD_NUMBER) == Order(**ORDER)


def test_order_takes_26_bytes_and_79_as_json(Order):
    size, json_size = Order(**ORDER).byte_size(), len(json.dumps(ORDER, separators=(",", ":")))
    assert (size, json_size) == (26, 79)
    assert round((1 - size / json_size) * 100) == 67


def test_order_is_the_json_of_the_example_with_the_names_of_its_schema(Order):
    assert json.loads(Order(**ORDER).to_json(preserving_names=True)) == ORDER
    assert Order.from_json(json.dumps(ORDER)) == Order(**ORDER)


@pytest.mark.parametrize(
    "unknown",
    [b"\x28\x01", b"\x29" + bytes(8), b"\x2a\x03abc", b"\x2b\x30\x01\x2c", b"\x2d" + bytes(4)],
    ids=["varint", "fixed64", "delimited", "group", "fixed32"],
)
def test_fields_of_a_newer_schema_are_passed_over_whatever_their_wire_type(Order, unknown):
    read = Order.from_bytes(BY_FIELD_NUMBER[:3] + unknown + BY_FIELD_NUMBER[3:])
    assert (read.order_id, read.item_sku, read.quantity, read.price_cents) == tuple(ORDER.values())
    assert read.to_bytes() == BY_FIELD_NUMBER + unknown
