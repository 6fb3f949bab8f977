"""Pings as figures for Prometheus, by the names of blackbox_exporter where they mean the same."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from penstock.observability.exposition import Exposition, check_can_be_put
from penstock.probing.exchange import Exchange
from penstock.services.pinger.kept import announced_length, kept
from penstock.services.pinger.model import PingResult

__all__ = ["PrometheusFile", "probe_figures"]

Labelled = tuple[Mapping[str, str], PingResult]

PHASES = {"resolve": "dns", "connect": "connect", "tls": "tls", "processing": "wait", "transfer": "transfer"}
"""blackbox_exporter's names of the phases -> ours."""

SEARCHED = ("body", "header", "json")
"""What assertions search for words, which is what blackbox_exporter's regular expressions do."""


def probe_figures(pings: Iterable[Labelled]) -> Exposition:
    """The families of some pings, each with its labels.

    Phases are summed over the redirects of the last attempt, as blackbox_exporter sums them; what only
    an answer can tell (status, length, certificate) has no sample without one, but the status, which is 0.

    Source: prometheus/blackbox_exporter 0.28, prober/http.go.
    """
    rows = list(pings)
    answered = [(labels, ping) for labels, ping in rows if ping.last is not None and ping.status]
    figures = Exposition()
    figures.gauge("probe_success", "Whether the probe succeeded.", ((at, ping.ok) for at, ping in rows))
    figures.gauge(
        "probe_duration_seconds",
        "Seconds from when the probe was due to its end, retries included.",
        ((at, ping.total / 1e9) for at, ping in rows),
    )
    figures.gauge(
        "probe_http_duration_seconds",
        "Seconds of the phases of the last attempt, summed over all redirects.",
        (
            ({**at, "phase": name}, sum(getattr(hop.exchange.phases, phase) for hop in ping.hops) / 1e9)
            for at, ping in rows
            for name, phase in PHASES.items()
        ),
    )
    figures.gauge(
        "probe_dns_lookup_time_seconds",
        "Seconds of the lookups of names.",
        ((at, sum(hop.exchange.phases.dns for hop in ping.hops) / 1e9) for at, ping in rows),
    )
    figures.gauge(
        "probe_http_status_code", "Status of the answer, 0 without one.", ((at, p.status) for at, p in rows)
    )
    figures.gauge(
        "probe_http_redirects", "Redirects followed.", ((at, max(len(p.hops) - 1, 0)) for at, p in rows)
    )
    figures.gauge(
        "probe_http_content_length",
        "Length that the answer announced, -1 where it did not.",
        ((at, content_length(ping.last)) for at, ping in answered if ping.last and ping.last.head),
    )
    figures.gauge(
        "probe_http_body_length_bytes",
        "Bytes of the body that were read.",
        ((at, ping.last.size) for at, ping in answered if ping.last),
    )
    figures.gauge(
        "probe_http_ssl",
        "Whether the last answer came over TLS.",
        ((at, ping.last.tls is not None) for at, ping in answered if ping.last),
    )
    figures.gauge(
        "probe_ip_protocol",
        "Version of IP of the last connection.",
        ((at, ip_address(p.last.address).version) for at, p in answered if p.last and p.last.address),
    )
    figures.gauge(
        "probe_ssl_earliest_cert_expiry",
        "When the server's certificate ends, seconds since 1970.",
        ((at, ending) for at, ping in answered if (ending := certificate_end(ping)) is not None),
    )
    figures.gauge(
        "probe_tls_version_info",
        "The version of TLS.",
        (({**at, "version": p.last.tls.version}, 1) for at, p in answered if p.last and p.last.tls),
    )
    figures.gauge(
        "probe_failed_due_to_regex",
        "Whether the probe failed because a word was found, or was not.",
        ((at, failed_by_a_word(ping)) for at, ping in rows),
    )
    figures.gauge(
        "penstock_probe_attempts", "Attempts that were made.", ((at, ping.attempts) for at, ping in rows)
    )
    figures.gauge(
        "penstock_probe_kernel_clock",
        "Whether the kernel timed the answer's arrival.",
        ((at, ping.last.clock == "kernel") for at, ping in answered if ping.last),
    )
    figures.gauge(
        "penstock_probe_tcp_rtt_seconds",
        "Round trip time of the last connection.",
        ((at, ping.last.tcp.rtt / 1e9) for at, ping in answered if ping.last and ping.last.tcp),
    )
    figures.gauge(
        "penstock_probe_tcp_retransmits",
        "Segments that the last connection sent again.",
        ((at, ping.last.tcp.retransmits) for at, ping in answered if ping.last and ping.last.tcp),
    )
    return figures


class PrometheusFile:
    """A sink that keeps the last ping of each target, and writes a textfile of them at the end.

    The file is replaced whole, for node_exporter's textfile collector. Every sample has the label
    `target`, and the target's own labels.

    Args:
        path: of the file.

    Raises:
        OSError: it could not be written, so that the run would be for nothing.
    """

    MOST = 10_000
    """Targets; further ones are counted, and told by `penstock_targets_left_out`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        check_can_be_put(self.path)
        self.left_out = 0
        self._last: dict[str, PingResult] = {}

    def write(self, result: PingResult) -> None:
        """Takes one result."""
        if result.title in self._last or len(self._last) < self.MOST:
            self._last[result.title] = kept(result)
        else:
            self.left_out += 1

    def close(self) -> None:
        """Writes the file.

        Raises:
            OSError: it cannot be written; what was there stays.
        """
        figures = probe_figures((labels_of(ping), ping) for ping in self._last.values())
        figures.gauge(
            "penstock_last_run_timestamp_seconds",
            "When the newest of the pings began, seconds since 1970.",
            [({}, max(ping.timestamp.timestamp() for ping in self._last.values()))] if self._last else [],
        )
        figures.gauge(
            "penstock_targets_left_out", "Pings of targets beyond the bound.", [({}, self.left_out)]
        )
        figures.write(self.path)


def labels_of(ping: PingResult) -> dict[str, str]:
    """A target's labels as Prometheus takes them, and `target`.

    What is no letter, digit or `_` becomes `_`; of labels that are the same then, the first one stays.
    """
    labels: dict[str, str] = {}
    for name, value in ping.labels:
        labels.setdefault(label_name(name), value)
    return {**labels, "target": ping.title}


@lru_cache(1_000)
def label_name(text: str) -> str:
    name = re.sub(r"[^a-zA-Z0-9_]", "_", text)
    return re.sub(r"^(__+|(?=[0-9])|$)", "_", name)  # those with two belong to Prometheus


def content_length(last: Exchange) -> int:
    length = announced_length(last.header("content-length"))
    return -1 if length is None else length


def certificate_end(ping: PingResult) -> float | None:
    return ping.last.tls.not_after if ping.last and ping.last.tls else None


def failed_by_a_word(ping: PingResult) -> bool:
    return any(
        verdict.severity == "fail" and verdict.assertion.startswith(SEARCHED) for verdict in ping.verdicts
    )
