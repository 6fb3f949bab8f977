"""An order as protobuf: declared as a class, sent as 26 bytes, read by a program with an older schema."""

from penstock.protobuf import DecodeError, Message, UInt32, field


class Order(Message, package="shop"):
    """What a shop sends to its warehouse."""

    order_id: UInt32 = field(1)
    item_sku: str = field(2)
    quantity: UInt32 = field(3)
    price_cents: UInt32 = field(4)


class OldOrder(Message, full_name="shop.Order"):
    """The same message, before it had a quantity and a price."""

    order_id: UInt32 = field(1)
    item_sku: str = field(2)


def main() -> None:
    order = Order(order_id=7821, item_sku="WIDGET-A-PREMIUM", quantity=5, price_cents=2999)
    data = order.to_bytes()
    print(f"{len(data)} bytes, {len(order.to_json())} as JSON: {data.hex()}")

    old = OldOrder.from_bytes(data)
    print(f"{old} keeps what it does not know: {old.unknown_fields.hex()}")
    old.item_sku = "WIDGET-A-BASIC"
    print(Order.from_bytes(old.to_bytes()))

    try:
        Order.from_bytes(data[:10])
    except DecodeError as error:
        print(error)


if __name__ == "__main__":
    main()
