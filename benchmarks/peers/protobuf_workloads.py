"""What the races of messages do: the same data built, written, read back and looked at in every package.

Three messages: an Order (4 fields, 26 bytes), a User (459 bytes: scalars, texts, a map, sub-messages) and a
request of OpenTelemetry's protocol (100 log records of 8 attributes).
"""
# ruff: noqa: B018, N806  # to name an attribute is to read it; classes keep their names

from random import Random
from types import SimpleNamespace
from typing import NamedTuple

import msgspec

from protobuf.messages import user

RECORDS = 100
CALLS = 200  # of what takes well below a microsecond, in one call that is timed


# ---- Order


def order(classes):
    """The order of example 44: 26 bytes."""
    return classes.Order(order_id=7821, item_sku="WIDGET-A-PREMIUM", quantity=5, price_cents=2999)


def read_order(order):
    order.order_id
    order.item_sku
    order.quantity
    order.price_cents


def builds_orders(classes, encode):
    Order = classes.Order

    def run():
        for _ in range(CALLS):
            encode(Order(order_id=7821, item_sku="WIDGET-A-PREMIUM", quantity=5, price_cents=2999))

    return run


def reads_orders(decode, data):
    def run():
        for _ in range(CALLS):
            order = decode(data)
            order.order_id
            order.item_sku
            order.quantity
            order.price_cents

    return run


# ---- User


USER = user(SimpleNamespace(User=dict, Address=dict, Device=dict))  # keywords and values
FIELDS = {name: value for name, value in USER.items() if name not in ("address", "devices")}


def user_in_place(classes):
    """The same as those write it who know Google's runtime: nothing is built beside its place and copied."""
    made = classes.User(**FIELDS)
    address, given = made.address, USER["address"]
    address.street, address.city = given["street"], given["city"]
    address.postcode, address.country = given["postcode"], given["country"]
    add = made.devices.add
    for each in USER["devices"]:
        add(**each)
    return made


def read_user(user):
    user.user_id
    user.name
    user.email
    user.age
    user.active
    user.score
    user.rating
    user.balance_cents
    user.created_at
    user.time_zone_offset
    user.locale
    user.about
    for _key, _value in user.settings.items():
        pass
    address = user.address
    address.street
    address.city
    address.postcode
    address.country
    for device in user.devices:
        device.device_id
        device.name
        device.last_seen
        device.trusted


# ---- a request of OTLP


class Record(NamedTuple):
    """A log record, before it is a message."""

    at: int
    body: str
    path: str
    user: str
    thread: str
    status: int
    cached: bool
    took: float
    trace_id: bytes
    span_id: bytes


def records():
    rng = Random(4)
    return [
        Record(
            at=1_750_000_000_000_000_000 + n * 1_234_567,
            body=f"GET /api/v1/orders/{rng.randrange(100_000)} answered",
            path=f"/api/v1/orders/{rng.randrange(100_000)}",
            user=f"user-{rng.randrange(10_000)}",
            thread=f"worker-{rng.randrange(16)}",
            status=rng.choice((200, 200, 200, 404, 500)),
            cached=rng.random() < 0.5,
            took=rng.expovariate(0.1),
            trace_id=rng.randbytes(16),
            span_id=rng.randbytes(8),
        )
        for n in range(RECORDS)
    ]


ALL_RECORDS = records()


def log_request(classes):
    scope = classes.ScopeLogs(
        scope=classes.InstrumentationScope(name="shop.http", version="1.4.2"),
        log_records=[log_record(classes, each) for each in ALL_RECORDS],
    )
    service = classes.KeyValue(key="service.name", value=classes.AnyValue(string_value="shop"))
    resource = classes.Resource(attributes=[service])
    return classes.ExportLogsServiceRequest(
        resource_logs=[classes.ResourceLogs(resource=resource, scope_logs=[scope])]
    )


def log_record(classes, record):
    KeyValue, AnyValue = classes.KeyValue, classes.AnyValue
    return classes.LogRecord(
        time_unix_nano=record.at,
        severity_number=9,
        severity_text="INFO",
        body=AnyValue(string_value=record.body),
        attributes=[
            KeyValue(key="http.request.method", value=AnyValue(string_value="GET")),
            KeyValue(key="url.path", value=AnyValue(string_value=record.path)),
            KeyValue(key="enduser.id", value=AnyValue(string_value=record.user)),
            KeyValue(key="thread.name", value=AnyValue(string_value=record.thread)),
            KeyValue(key="server.address", value=AnyValue(string_value="shop.example")),
            KeyValue(key="http.response.status_code", value=AnyValue(int_value=record.status)),
            KeyValue(key="cache.hit", value=AnyValue(bool_value=record.cached)),
            KeyValue(key="duration_ms", value=AnyValue(double_value=record.took)),
        ],
        trace_id=record.trace_id,
        span_id=record.span_id,
    )


def log_request_in_place(classes):
    """The same, nothing built beside its place."""
    request = classes.ExportLogsServiceRequest()
    of_resource = request.resource_logs.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    of_scope = of_resource.scope_logs.add()
    of_scope.scope.name, of_scope.scope.version = "shop.http", "1.4.2"
    for each in ALL_RECORDS:
        add_log_record(of_scope.log_records, each)
    return request


def add_log_record(log_records, record):
    made = log_records.add(
        time_unix_nano=record.at,
        severity_number=9,
        severity_text="INFO",
        trace_id=record.trace_id,
        span_id=record.span_id,
    )
    made.body.string_value = record.body
    add = made.attributes.add
    add(key="http.request.method").value.string_value = "GET"
    add(key="url.path").value.string_value = record.path
    add(key="enduser.id").value.string_value = record.user
    add(key="thread.name").value.string_value = record.thread
    add(key="server.address").value.string_value = "shop.example"
    add(key="http.response.status_code").value.int_value = record.status
    add(key="cache.hit").value.bool_value = record.cached
    add(key="duration_ms").value.double_value = record.took


def read_any(value):
    """The value of a oneof whose members are None while they are not set."""
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return value.int_value
    if value.bool_value is not None:
        return value.bool_value
    return value.double_value


def read_any_by_name(value):
    """The same where every member reads as a zero while it is not set."""
    return getattr(value, value.WhichOneof("value"))


def log_request_reader(read_any):
    """Returns a function that reads every field of a request."""

    def read(request):
        for of_resource in request.resource_logs:
            for each in of_resource.resource.attributes:
                each.key
                read_any(each.value)
            for of_scope in of_resource.scope_logs:
                of_scope.scope.name
                of_scope.scope.version
                for record in of_scope.log_records:
                    record.time_unix_nano
                    record.severity_number
                    record.severity_text
                    read_any(record.body)
                    record.trace_id
                    record.span_id
                    for each in record.attributes:
                        each.key
                        read_any(each.value)

    return read


# ---- the same request as users of msgspec would have it: values that are of several types, no AnyValue


class KeyValue(msgspec.Struct, array_like=True):
    key: str
    value: str | int | bool | float


class LogRecord(msgspec.Struct, array_like=True):
    time_unix_nano: int
    severity_number: int
    severity_text: str
    body: str
    attributes: list[KeyValue]
    trace_id: bytes
    span_id: bytes


class LogRequest(msgspec.Struct, array_like=True):
    service: str
    scope: str
    version: str
    log_records: list[LogRecord]


def log_request_of_unions(_):
    return LogRequest("shop", "shop.http", "1.4.2", [log_record_of_unions(each) for each in ALL_RECORDS])


def log_record_of_unions(record):
    attributes = [
        KeyValue("http.request.method", "GET"),
        KeyValue("url.path", record.path),
        KeyValue("enduser.id", record.user),
        KeyValue("thread.name", record.thread),
        KeyValue("server.address", "shop.example"),
        KeyValue("http.response.status_code", record.status),
        KeyValue("cache.hit", record.cached),
        KeyValue("duration_ms", record.took),
    ]
    return LogRecord(record.at, 9, "INFO", record.body, attributes, record.trace_id, record.span_id)


def read_log_request_of_unions(request):
    request.service
    request.scope
    request.version
    for record in request.log_records:
        record.time_unix_nano
        record.severity_number
        record.severity_text
        record.body
        record.trace_id
        record.span_id
        for each in record.attributes:
            each.key
            each.value
