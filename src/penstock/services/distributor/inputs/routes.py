"""The paths of the inputs over HTTP."""

import asyncio

from aiohttp import web

from penstock.services.distributor.access import open_to_all, sending
from penstock.services.distributor.inputs.elasticsearch import take_bulk, tell_license
from penstock.services.distributor.inputs.elasticsearch import tell_health as tell_colour
from penstock.services.distributor.inputs.figures import HTTP_INPUTS, InputFigures
from penstock.services.distributor.inputs.gelf import take_gelf
from penstock.services.distributor.inputs.loki import take_loki
from penstock.services.distributor.inputs.ndjson import take_ndjson
from penstock.services.distributor.inputs.otlp import take_otlp
from penstock.services.distributor.inputs.requests import LARGE_AT_ONCE, LARGE_BODIES
from penstock.services.distributor.inputs.splunk import take_events, take_raw, tell_acks, tell_health

__all__ = ["add_inputs"]


def add_inputs(app: web.Application) -> None:
    """Lets an application take logs in other protocols than that of the REST API, and count them."""
    app[HTTP_INPUTS] = InputFigures()
    app[LARGE_BODIES] = asyncio.Semaphore(LARGE_AT_ONCE)
    router = app.router
    router.add_post("/api/v1/ndjson", sending(take_ndjson))
    router.add_post("/v1/logs", sending(take_otlp))
    router.add_post("/loki/api/v1/push", sending(take_loki))
    router.add_post("/gelf", sending(take_gelf))
    for path in ("/_bulk", "/{index}/_bulk"):
        router.add_post(path, sending(take_bulk))
        router.add_put(path, sending(take_bulk))
    router.add_get("/_license", sending(tell_license))
    router.add_get("/_cluster/health", sending(tell_colour))
    for path in ("/services/collector", "/services/collector/event", "/services/collector/event/1.0"):
        router.add_post(path, sending(take_events))
    for path in ("/services/collector/raw", "/services/collector/raw/1.0"):
        router.add_post(path, sending(take_raw))
    router.add_post("/services/collector/ack", sending(tell_acks))
    for path in ("/services/collector/health", "/services/collector/health/1.0"):
        router.add_get(path, open_to_all(tell_health))
