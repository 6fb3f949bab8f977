"""The figures in the Prometheus text format 0.0.4."""

from collections.abc import Mapping

from aiohttp import web

from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.rest.standing import input_figures, request_figures

__all__ = ["tell_metrics"]

METRICS = (
    ("accepted", "counter", "Packets stored."),
    ("messages_accepted", "counter", "Messages in the packets stored."),
    ("replayed", "counter", "Dead letters that became packets again."),
    ("delivered", "counter", "Packets that an analyzer processed."),
    ("total_messages_routed", "counter", "Messages in the packets delivered."),
    ("dead", "counter", "Packets given up."),
    ("lost", "counter", "Packets that the spool could not read back: a damaged disk."),
    ("purged", "counter", "Dead letters removed, by hand or to keep within the bounds."),
    ("retries", "counter", "Deliveries of a packet that failed and were put off."),
    ("refused", "counter", "Packets refused."),
    ("refused_records", "counter", "Records refused by inputs other than the REST API."),
    ("limited_requests", "counter", "Requests refused as their client sent too many, since the start."),
    ("duplicates", "counter", "Packets answered as accepted that had been stored before."),
    ("pending", "gauge", "Packets stored and neither delivered nor given up."),
    ("pending_bytes", "gauge", "Bytes of those packets."),
    ("receiving_bytes", "gauge", "Bytes of requests that are not answered yet."),
    (
        "conservation_error",
        "gauge",
        "accepted + replayed - delivered - dead - lost - pending; not 0 is a fault.",
    ),
)

ANALYZER_METRICS = (
    ("is_healthy", "gauge", "Whether the analyzer gets packets."),
    ("processed_count", "counter", "Packets that it processed."),
    ("error_count", "counter", "Packets that it failed."),
    ("first_assigned", "counter", "Packets that were its own at first."),
    ("queued", "gauge", "Packets that wait for it."),
    ("in_flight", "gauge", "Packets on their way to it."),
    ("concurrency", "gauge", "Deliveries that may be on their way to it at a time."),
)


INPUT_METRICS = (
    ("received", "counter", "Records that came in by it."),
    ("stored", "counter", "Records of it that are stored."),
    ("refused", "counter", "Records of it that broke a rule."),
    ("dropped", "counter", "Records of it for which there was no room in time."),
    ("lost", "counter", "Datagrams that the operating system dropped."),
    ("connections", "gauge", "Open connections."),
    ("held_bytes", "gauge", "Bytes of it that were read and are not stored yet."),
)


async def tell_metrics(request: web.Request) -> web.Response:
    """The figures in the Prometheus text format 0.0.4."""
    stats = figures_of(request.app[DISTRIBUTOR]) | request_figures(request)
    lines = []
    for field, kind, what in METRICS:
        name = f"penstock_distributor_{field.removeprefix('total_')}" + (
            "_total" if kind == "counter" else ""
        )
        lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}", f"{name} {stats[field]}"]
    for field, kind, what in ANALYZER_METRICS:
        name = f"penstock_analyzer_{field}" + ("_total" if kind == "counter" else "")
        lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
        lines += [f'{name}{{analyzer="{id_}"}} {int(one[field])}' for id_, one in stats["analyzers"].items()]
    lines += input_lines(input_figures(request.app))
    text = "\n".join(lines) + "\n"
    return web.Response(
        body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def input_lines(inputs: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The figures of the inputs other than the REST API."""
    lines = []
    for field, kind, what in INPUT_METRICS:
        name = f"penstock_input_{field}" + ("_total" if kind == "counter" else "")
        values = [f'{name}{{input="{id_}"}} {one[field]}' for id_, one in inputs.items() if field in one]
        if values:
            lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}", *values]
    return lines
