"""The figures of the distributor, by the names that its REST API uses."""

from collections import Counter
from typing import Any

from penstock.services.distributor.books import in_the_books
from penstock.services.distributor.state import Distributor

__all__ = ["figures_of"]


def figures_of(distributor: Distributor) -> dict[str, Any]:
    """Every figure there is; counts go back to when the spool was made."""
    config, fleet = distributor.config, distributor.fleet
    count = distributor.counted()
    in_flight = sum(analyzer.in_flight for analyzer in fleet.members.values())
    most_in_flight = sum(one.most_in_flight for one in fleet.members.values())
    return {
        "total_packets_received": count["accepted"],
        "total_messages_routed": count["messages_routed"],
        "active_analyzers": len(fleet.up),
        "packet_channel_util_percent": percent(distributor.admission.packets, config.max_pending),
        "result_channel_util_percent": percent(in_flight, most_in_flight),
        "retry_channel_util_percent": percent(distributor.retrying, config.max_pending),
        "uptime_seconds": round(distributor.uptime, 3),
        "status": distributor.status,
        "draining": distributor.draining,
        "durability": config.accepted_when,
        "accepted": count["accepted"],
        "messages_accepted": count["messages_accepted"],
        "replayed": count["replayed"],
        "delivered": count["delivered"],
        "dead": count["dead"],
        "lost": count["lost"],
        "purged": count["purged"],
        "pending": distributor.pending,
        "pending_bytes": distributor.admission.bytes,
        "retrying": distributor.retrying,
        "retries": count["retries"],
        "refused": count["refused"],
        "refused_records": count["refused_records"],
        "duplicates": count["duplicates"],
        "conservation_error": fleet.missing(in_the_books(count)),
        "accept_ms": distributor.accepting.took.percentiles(),
        "analyzers": analyzer_figures(distributor, count),
        **fleet.more_figures(),
    }


def analyzer_figures(distributor: Distributor, count: Counter[str]) -> dict[str, dict[str, Any]]:
    """The figures of every analyzer, by its id."""
    figures: dict[str, dict[str, Any]] = {}
    for group in distributor.fleet.groups.values():
        assigned = {id_: count[f"first_assigned:{id_}"] for id_ in group.members}
        total = sum(assigned.values())
        targets, ahead = group.shares.targets, group.shares.ahead
        for id_, analyzer in group.members.items():
            circuit = analyzer.circuit
            figures[id_] = {
                "name": analyzer.config.name or id_,
                "url": analyzer.config.public_url,
                "is_healthy": analyzer.is_up,
                "held_down": circuit.overridden == "down",
                "processed_count": count[f"processed:{id_}"],
                "error_count": count[f"errors:{id_}"],
                "weight": analyzer.config.weight,
                "target_share": targets[id_],
                "first_assigned": assigned[id_],
                "share": assigned[id_] / total if total else 0.0,
                "share_error_packets": round(ahead[id_], 3),
                "queued": analyzer.waiting,
                "in_flight": analyzer.in_flight,
                "last_error": analyzer.last_error,
                "group": group.config.id,
                "tier": analyzer.config.tier,
                "state": circuit.state,
                "override": circuit.overridden,
                "override_reason": circuit.reason,
                "override_ends_in": circuit.expires_in,
                "concurrency": analyzer.pace.limit,
                "batch_packets": analyzer.pace.batch_packets,
                "delivery_ms": analyzer.delivering.percentiles(),
            }
    return {id_: figures[id_] for id_ in distributor.fleet.members}


def percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 1)
