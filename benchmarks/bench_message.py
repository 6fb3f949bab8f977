"""Messages read and written: a small one, a middling one, a batch of log records, and packed numbers."""

from importlib import import_module
from types import SimpleNamespace

import numpy as np

from penstock.protobuf.fields import (
    Double,
    DoubleArray,
    Fixed64,
    Float,
    Int32,
    Int64,
    SInt64,
    UInt32,
    UInt64,
    UInt64Array,
    field,
)


def order_class(root):
    class Order(root):
        order_id: UInt32 = field(1)
        item_sku: str = field(2)
        quantity: UInt32 = field(3)
        price_cents: UInt32 = field(4)

    return Order


def user_classes(root):
    class Address(root):
        street: str = field(1)
        city: str = field(2)
        postcode: str = field(3)
        country: str = field(4)

    class Device(root):
        device_id: UInt64 = field(1)
        name: str = field(2)
        last_seen: Fixed64 = field(3)
        trusted: bool = field(4)

    class User(root):
        user_id: UInt64 = field(1)
        name: str = field(2)
        email: str = field(3)
        age: UInt32 = field(4)
        active: bool = field(5)
        score: Double = field(6)
        rating: Float = field(7)
        balance_cents: SInt64 = field(8)
        created_at: Fixed64 = field(9)
        time_zone_offset: Int32 = field(10)
        locale: str = field(11)
        about: str = field(12)
        settings: dict[str, str] = field(13)
        address: Address | None = field(14)
        devices: list[Device] = field(15)

    return SimpleNamespace(Address=Address, Device=Device, User=User)


def user(classes):
    """459 bytes: 8 scalars, 4 texts, a map of 3 entries, 6 sub-messages."""
    names = "laptop at home", "phone", "tablet in the car", "desktop at work", "watch"
    return classes.User(
        user_id=7_261_540_183_622,
        name="Margaret Hamilton",
        email="margaret.hamilton@example.org",
        age=42,
        active=True,
        score=98.625,
        rating=4.5,
        balance_cents=-129_950,
        created_at=1_764_410_400_000,
        time_zone_offset=-300,
        locale="en-US",
        about="Leads the team that writes the flight software of Apollo, and gave her trade its name.",
        settings={"theme": "dark", "language": "en", "newsletter": "weekly, on Mondays"},
        address=classes.Address(
            street="77 Massachusetts Avenue, Apt. 4", city="Cambridge", postcode="02139", country="US"
        ),
        devices=[
            classes.Device(device_id=9_001 + at, name=name, last_seen=1_764_410_400_000 - at, trusted=at < 3)
            for at, name in enumerate(names)
        ],
    )


def log_classes(root):
    """What OTLP says of a log record, as far as most of them go."""

    class AnyValue(root):
        string_value: str | None = field(1, oneof="value")
        bool_value: bool | None = field(2, oneof="value")
        int_value: Int64 | None = field(3, oneof="value")
        double_value: Double | None = field(4, oneof="value")

    class KeyValue(root):
        key: str = field(1)
        value: AnyValue | None = field(2)

    class LogRecord(root):
        time_unix_nano: Fixed64 = field(1)
        severity_number: Int32 = field(2)
        severity_text: str = field(3)
        body: AnyValue | None = field(5)
        attributes: list[KeyValue] = field(6)
        trace_id: bytes = field(9)
        span_id: bytes = field(10)

    class ScopeLogs(root):
        log_records: list[LogRecord] = field(2)

    return SimpleNamespace(AnyValue=AnyValue, KeyValue=KeyValue, LogRecord=LogRecord, ScopeLogs=ScopeLogs)


def logs(classes):
    """100 records with 8 attributes each."""
    return classes.ScopeLogs(
        log_records=[
            classes.LogRecord(
                time_unix_nano=1_764_410_400_000_000_000 + at,
                severity_number=9,
                severity_text="INFO",
                body=classes.AnyValue(string_value=f"request {at} served"),
                attributes=[
                    classes.KeyValue(
                        key=f"attribute.{n}",
                        value=classes.AnyValue(string_value=f"value {at} {n}")
                        if n % 2
                        else classes.AnyValue(int_value=at * n),
                    )
                    for n in range(8)
                ],
                trace_id=at.to_bytes(16),
                span_id=at.to_bytes(8),
            )
            for at in range(100)
        ]
    )


def packed_class(root):
    class Packed(root):
        integers: UInt64Array = field(1)
        doubles: DoubleArray = field(2)

    return Packed


class Message:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        root = import_module(f"penstock.protobuf._message_{impl}").Message
        self.Order, self.users, self.logs = order_class(root), user_classes(root), log_classes(root)
        self.order = self.Order(order_id=1421, item_sku="WIDGET-PREMIUM", quantity=3, price_cents=2999)
        self.order_bytes = self.order.to_bytes()
        self.user = user(self.users)
        self.user_bytes = self.user.to_bytes()
        self.log = logs(self.logs)
        self.log_bytes = self.log.to_bytes()
        random = np.random.default_rng(7)
        self.Packed = packed_class(root)
        self.packed = self.Packed(
            integers=random.integers(0, 1 << 20, 10_000).astype(np.uint64), doubles=random.random(10_000)
        )
        self.packed_bytes = self.packed.to_bytes()

    def time_build_and_write_order_1k(self, impl):
        make = self.Order
        for at in range(1000):
            make(order_id=at, item_sku="WIDGET-PREMIUM", quantity=3, price_cents=2999).to_bytes()

    def time_read_order_1k(self, impl):
        read, data = self.Order.from_bytes, self.order_bytes
        for _ in range(1000):
            read(data)

    def time_read_fields_of_order_1k(self, impl):
        order = self.order
        for _ in range(1000):
            order.order_id, order.item_sku, order.quantity, order.price_cents  # noqa: B018

    def time_set_field_of_order_1k(self, impl):
        order = self.order
        for at in range(1000):
            order.quantity = at

    def time_read_user(self, impl):
        self.users.User.from_bytes(self.user_bytes)

    def time_write_user(self, impl):
        self.user.to_bytes()

    def time_build_and_write_user(self, impl):
        user(self.users).to_bytes()

    def time_copy_user(self, impl):
        self.user.copy()

    def time_read_100_log_records_with_8_attributes(self, impl):
        self.logs.ScopeLogs.from_bytes(self.log_bytes)

    def time_build_and_write_100_log_records_with_8_attributes(self, impl):
        logs(self.logs).to_bytes()

    def time_read_packed_10k_varints_and_10k_doubles(self, impl):
        self.Packed.from_bytes(self.packed_bytes)

    def time_write_packed_10k_varints_and_10k_doubles(self, impl):
        self.packed.to_bytes()
