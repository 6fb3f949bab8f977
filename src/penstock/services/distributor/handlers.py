"""Every path that the service answers, and who answers it."""

from aiohttp import web

from penstock.services.distributor.access import open_to_all, open_to_every_key, operating, sending
from penstock.services.distributor.rest.analyzers import (
    add_analyzer,
    change_analyzer,
    control_health,
    put_analyzer,
    remove_analyzer,
)
from penstock.services.distributor.rest.configuration import reload_config, tell_config
from penstock.services.distributor.rest.dead_letters import (
    get_dead_letter,
    list_dead_letters,
    purge_dead_letters,
    replay_dead_letters,
    stop_replaying,
    tell_replaying,
)
from penstock.services.distributor.rest.metrics import tell_metrics
from penstock.services.distributor.rest.packets import submit_packets, tell_story
from penstock.services.distributor.rest.page import show_page
from penstock.services.distributor.rest.standing import (
    list_analyzers,
    tell_alive,
    tell_health,
    tell_ready,
    tell_stats,
)
from penstock.services.distributor.rest.tail import watch_packets

__all__ = ["add_routes"]


def add_routes(router: web.UrlDispatcher) -> None:
    """Adds the REST API, the page and the probes; what is not marked needs a key that may read."""
    router.add_get("/", open_to_all(show_page))
    router.add_post("/api/v1/logs", sending(submit_packets))
    router.add_get("/api/v1/health", open_to_every_key(tell_health))
    router.add_get("/api/v1/stats", tell_stats)
    router.add_get("/api/v1/analyzers", list_analyzers)
    router.add_post("/api/v1/analyzers/{id}/health", operating(control_health))
    router.add_post("/api/v1/analyzers", operating(add_analyzer))
    router.add_put("/api/v1/analyzers/{id}", operating(put_analyzer))
    router.add_patch("/api/v1/analyzers/{id}", operating(change_analyzer))
    router.add_delete("/api/v1/analyzers/{id}", operating(remove_analyzer))
    router.add_get("/api/v1/dead-letter", list_dead_letters)
    router.add_get("/api/v1/dead-letter/{seq:[0-9]{1,18}}", get_dead_letter)
    router.add_post("/api/v1/dead-letter/replay", operating(replay_dead_letters))
    router.add_get("/api/v1/dead-letter/replay", tell_replaying)
    router.add_delete("/api/v1/dead-letter/replay", operating(stop_replaying))
    router.add_post("/api/v1/dead-letter/purge", operating(purge_dead_letters))
    router.add_get("/api/v1/packets/{id}", tell_story)
    router.add_get("/api/v1/tail", watch_packets)
    router.add_get("/api/v1/config", operating(tell_config))
    router.add_post("/api/v1/config", operating(reload_config))
    router.add_get("/livez", open_to_all(tell_alive))
    router.add_get("/readyz", open_to_all(tell_ready))
    router.add_get("/metrics", open_to_all(tell_metrics))
