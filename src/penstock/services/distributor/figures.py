"""The figures of the distributor, by the names that its REST API uses."""

from collections import Counter
from typing import Any

from penstock.services.distributor.state import Distributor

__all__ = ["figures_of"]


def figures_of(distributor: Distributor) -> dict[str, Any]:
    """Every figure there is; counts go back to when the spool was made."""
    config, fleet = distributor.config, distributor.fleet
    count = distributor.counted()
    in_flight = sum(analyzer.in_flight for analyzer in fleet.members.values())
    most_in_flight = len(fleet.members) * config.concurrency * config.batch_packets
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
        "durability": config.durability,
        "accepted": count["accepted"],
        "messages_accepted": count["messages_accepted"],
        "delivered": count["delivered"],
        "dead": count["dead"],
        "purged": count["purged"],
        "pending": distributor.pending,
        "retrying": distributor.retrying,
        "retries": count["retries"],
        "refused": count["refused"],
        "duplicates": count["duplicates"],
        "conservation_error": count["accepted"] - count["delivered"] - count["dead"] - distributor.pending,
        "analyzers": analyzer_figures(distributor, count),
    }


def analyzer_figures(distributor: Distributor, count: Counter[str]) -> dict[str, dict[str, Any]]:
    """The figures of every analyzer, by its id."""
    fleet = distributor.fleet
    assigned = {id_: count[f"first_assigned:{id_}"] for id_ in fleet.members}
    total = sum(assigned.values())
    targets, ahead = fleet.target_shares, fleet.ahead
    return {
        id_: {
            "name": analyzer.config.name or id_,
            "url": analyzer.config.public_url,
            "is_healthy": analyzer.is_up,
            "held_down": analyzer.held_down,
            "processed_count": count[f"processed:{id_}"],
            "error_count": count[f"errors:{id_}"],
            "weight": analyzer.config.weight,
            "target_share": targets[id_],
            "first_assigned": assigned[id_],
            "share": assigned[id_] / total if total else 0.0,
            "share_error_packets": round(ahead[id_], 3),
            "queued": len(analyzer.queue),
            "in_flight": analyzer.in_flight,
            "last_error": analyzer.last_error,
        }
        for id_, analyzer in fleet.members.items()
    }


def percent(part: float, whole: float) -> float:
    return round(100 * part / whole, 1)
