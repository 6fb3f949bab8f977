"""How the service and its analyzers stand: health, figures, and what the machinery around it asks."""

from aiohttp import web

from penstock.services.distributor.figures import figures_of
from penstock.services.distributor.inputs.figures import HTTP_INPUTS
from penstock.services.distributor.keys import BODIES, CLIENT_LIMITS, DISTRIBUTOR, STREAMS
from penstock.services.distributor.rest.answers import answer, in_go_style, timestamp
from penstock.services.problem_details import problem

__all__ = [
    "input_figures",
    "list_analyzers",
    "request_figures",
    "tell_alive",
    "tell_health",
    "tell_ready",
    "tell_stats",
]


async def tell_health(request: web.Request) -> web.Response:
    """Healthy, degraded or unhealthy, as the reference puts it."""
    distributor = request.app[DISTRIBUTOR]
    stats = figures_of(distributor)
    return answer(
        {
            "status": distributor.status,
            "uptime": in_go_style(distributor.uptime),
            "active_analyzers": stats["active_analyzers"],
            "total_analyzers": len(stats["analyzers"]),
            "timestamp": timestamp(),
        }
    )


async def tell_stats(request: web.Request) -> web.Response:
    """Every figure."""
    distributor = request.app[DISTRIBUTOR]
    stats = figures_of(distributor) | request_figures(request) | {"inputs": input_figures(request.app)}
    return answer(stats | {"uptime": in_go_style(distributor.uptime), "timestamp": timestamp()})


def input_figures(app: web.Application) -> dict[str, dict[str, int]]:
    """What came in by each input other than the REST API."""
    return app[STREAMS].figures() | app[HTTP_INPUTS].figures()


def request_figures(request: web.Request) -> dict[str, int]:
    """How many requests were refused as their client sent too many; bytes of those not answered yet."""
    app = request.app
    return {
        "limited_requests": sum(limits.stats()["refused"] for limits in app[CLIENT_LIMITS]),
        "receiving_bytes": app[BODIES].held,
    }


async def list_analyzers(request: web.Request) -> web.Response:
    """The figures of every analyzer, in their order."""
    analyzers = figures_of(request.app[DISTRIBUTOR])["analyzers"]
    return answer([{"id": id_} | analyzer for id_, analyzer in analyzers.items()])


async def tell_alive(request: web.Request) -> web.Response:
    """200 as long as anything is answered at all."""
    return web.Response(text="alive\n")


async def tell_ready(request: web.Request) -> web.Response:
    """200 when packets are accepted and somebody is there to get them."""
    distributor = request.app[DISTRIBUTOR]
    if distributor.draining:
        return problem(503, "the distributor is shutting down")
    if not distributor.fleet.up:
        return problem(503, "no analyzer is up; packets are accepted and wait")
    return web.Response(text="ready\n")
