"""Analyzers: taking them out and putting them back, adding, changing and removing them."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from penstock.errors import PenstockError
from penstock.services.distributor.carriers import check
from penstock.services.distributor.config import AnalyzerConfig, Seconds
from penstock.services.distributor.fleet import UnknownAnalyzer
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.reloading import Difference
from penstock.services.distributor.rest.answers import answer
from penstock.services.distributor.rest.bodies import decoded
from penstock.services.problem_details import problem

__all__ = [
    "add_analyzer",
    "change_analyzer",
    "control_health",
    "differences_told",
    "put_analyzer",
    "remove_analyzer",
]

AN_ANALYZER = 'an analyzer such as {"id": "a", "url": "http://10.0.0.7:9000/packets", "weight": 60}'


class HealthControl(msgspec.Struct, forbid_unknown_fields=True):
    """What a person wants of an analyzer."""

    healthy: bool | UnsetType = UNSET
    """False holds it down, true puts it back: the reference's words."""
    state: Literal["up", "drain", "down"] | UnsetType | None = UNSET
    """Held so, whatever probes say; null puts it back."""
    ttl: Seconds | None = None
    """Seconds after which it is put back; null: until a person does it."""
    reason: str = ""

    def __post_init__(self) -> None:
        if (self.healthy is UNSET) == (self.state is UNSET):
            raise ValueError("one of healthy and state must be given")
        if len(self.reason) > 500:
            raise ValueError(f"reason must have at most 500 characters, got {len(self.reason)}")

    @property
    def wanted(self) -> Literal["up", "drain", "down"] | None:
        """The state to hold it in; None: that which it is in by itself."""
        if self.state is UNSET:
            return None if self.healthy else "down"
        return self.state


async def control_health(request: web.Request) -> web.Response:
    """Holds an analyzer up, draining or down, or puts it back."""
    control = await decoded(request, HealthControl, '{"healthy": true}, or {"state": "drain", "ttl": 600}')
    if isinstance(control, web.Response):
        return control
    distributor = request.app[DISTRIBUTOR]
    try:
        distributor.control(request.match_info["id"], control.wanted, control.ttl, control.reason)
        analyzer = distributor.fleet[request.match_info["id"]]
    except UnknownAnalyzer as error:
        return problem(404, str(error))
    return answer(
        {
            "id": analyzer.config.id,
            "is_healthy": analyzer.is_up,
            "held_down": analyzer.circuit.overridden == "down",
            "state": analyzer.circuit.state,
            "override": analyzer.circuit.overridden,
            "override_ends_in": analyzer.circuit.expires_in,
        }
    )


async def add_analyzer(request: web.Request) -> web.Response:
    """Adds an analyzer; 409 when there is one of its id."""
    analyzer = await decoded(request, AnalyzerConfig, AN_ANALYZER)
    if isinstance(analyzer, web.Response):
        return analyzer
    if analyzer.id in analyzers_of(request):
        return problem(409, f"there is an analyzer {analyzer.id!r} already; PUT replaces it")
    return await changed(request, {**analyzers_of(request), analyzer.id: analyzer}, 201)


async def put_analyzer(request: web.Request) -> web.Response:
    """Adds the analyzer of this id, or replaces it by another."""
    fields = await decoded(request, dict[str, Any], AN_ANALYZER)
    if isinstance(fields, web.Response):
        return fields
    id_ = request.match_info["id"]
    return await with_fields(request, fields, 200 if id_ in analyzers_of(request) else 201)


async def change_analyzer(request: web.Request) -> web.Response:
    """Changes some fields of an analyzer, such as its weight; the others stay as they are."""
    fields = await decoded(request, dict[str, Any], 'what changes, such as {"weight": 60}')
    if isinstance(fields, web.Response):
        return fields
    before = analyzers_of(request).get(request.match_info["id"])
    if before is None:
        return unknown(request)
    return await with_fields(request, msgspec.to_builtins(before) | fields, 200)


async def with_fields(request: web.Request, fields: dict[str, Any], status: int) -> web.Response:
    """Makes the analyzer that the path names one of these fields."""
    id_ = request.match_info["id"]
    if fields.get("id", id_) != id_:
        return problem(400, f"id must be that of the path, {id_!r}, or be left out")
    try:
        analyzer = msgspec.convert(fields | {"id": id_}, AnalyzerConfig)
    except (msgspec.ValidationError, OverflowError) as error:
        return problem(400, f"the body must be {AN_ANALYZER}: {error}")
    return await changed(request, {**analyzers_of(request), id_: analyzer}, status)


async def remove_analyzer(request: web.Request) -> web.Response:
    """Removes an analyzer; what waits for it goes to the others of its group."""
    analyzers = analyzers_of(request)
    if analyzers.pop(request.match_info["id"], None) is None:
        return unknown(request)
    return await changed(request, analyzers, 200)


def analyzers_of(request: web.Request) -> dict[str, AnalyzerConfig]:
    """Those in force, by id, in their order."""
    return {analyzer.id: analyzer for analyzer in request.app[DISTRIBUTOR].config.analyzers}


def unknown(request: web.Request) -> web.Response:
    ids = ", ".join(analyzers_of(request))
    return problem(404, f"there is no analyzer {request.match_info['id']!r}; there are: {ids}")


async def changed(request: web.Request, analyzers: dict[str, AnalyzerConfig], status: int) -> web.Response:
    """Puts these analyzers into force and tells what has become different."""
    if not analyzers:
        return problem(422, "there must be at least one analyzer; add another one first")
    distributor = request.app[DISTRIBUTOR]
    known = distributor.config.analyzers
    try:
        for analyzer in analyzers.values():
            if analyzer not in known:
                check(analyzer)
        differences = await distributor.change_analyzers(tuple(analyzers.values()))
    except (PenstockError, ValueError) as error:
        return problem(422, str(error))
    return answer({"changed": differences_told(differences)}, status)


def differences_told(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """What has become different, by the names of settings."""
    return [{"name": name, "before": before, "after": after} for name, before, after in differences]
