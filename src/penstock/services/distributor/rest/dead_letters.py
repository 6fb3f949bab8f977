"""Dead letters: listing and searching, replaying and purging them."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from penstock.services.distributor.dead_letters import BadQuery, LetterRow
from penstock.services.distributor.keys import DISTRIBUTOR
from penstock.services.distributor.letters import Busy, Letters, Replaying
from penstock.services.distributor.rest.answers import answer, retry_after, timestamp
from penstock.services.distributor.rest.bodies import decoded
from penstock.services.distributor.rest.queries import (
    MAX_QUERY,
    bounded_query,
    moment,
    moment_in_query,
    search_in_query,
)
from penstock.services.distributor.spool import SpoolError
from penstock.services.distributor.state import Distributor
from penstock.services.problem_details import problem

__all__ = [
    "get_dead_letter",
    "list_dead_letters",
    "purge_dead_letters",
    "replay_dead_letters",
    "stop_replaying",
    "tell_replaying",
]

MAX_DEAD_LETTERS_LISTED = 1000


async def list_dead_letters(request: web.Request) -> web.Response:
    """Dead letters, those that failed last first: `?limit=` of them, 100 unless told.

    `?before=` the sequence number of one goes on after it; `?since=` and `?until=`, times, leave out what
    failed before the one, and what failed at or after the other. `?q=` leaves out what does not match a
    query; with `?order=relevance` the best match comes first.
    """
    distributor = request.app[DISTRIBUTOR]
    try:
        limit = bounded_query(request, "limit", 100, 1, MAX_DEAD_LETTERS_LISTED)
        before = bounded_query(request, "before", None, 1, 1 << 62)
        since_ms, until_ms = moment_in_query(request, "since"), moment_in_query(request, "until")
        query = search_in_query(request)
    except ValueError as error:
        return problem(400, str(error))
    try:
        if query is None:
            return answer(letters_listed(await distributor.dead_letters(limit, before, since_ms, until_ms)))
        found = await distributor.search_dead_letters(query, since_ms, until_ms)
        if request.query.get("order") == "relevance":
            letters = await distributor.letters([*islice(found.scores, limit)])
        else:
            letters = await distributor.dead_letters(limit, before, since_ms, until_ms, among=found.scores)
    except BadQuery as error:
        return problem(400, f"q cannot be read: {error}")
    except SpoolError as error:
        return problem(503, str(error), headers=retry_after(1))
    told = {"Penstock-Found": str(len(found.scores)), "Penstock-Searched": str(found.searched)}
    return answer(letters_listed(letters, found.scores), headers=told)


def letters_listed(letters: Iterable[LetterRow], scores: Mapping[int, float] | None = None) -> list[object]:
    """Dead letters as they are answered; with the score of each when they were searched for."""
    return [
        {
            "seq": seq,
            "packet": msgspec.Raw(body[:-1] + b',"retry_count":%d}' % (failures - 1)),
            "final_error": error,
            "failed_at": timestamp(failed_at_ms / 1000),
            **({} if scores is None else {"score": round(scores[seq], 4)}),
        }
        for seq, body, failures, error, failed_at_ms in letters
    ]


async def get_dead_letter(request: web.Request) -> web.Response:
    """One dead letter, by its number."""
    seq = int(request.match_info["seq"])
    try:
        letters = await request.app[DISTRIBUTOR].letters([seq])
    except SpoolError as error:
        return problem(503, str(error), headers=retry_after(1))
    if not letters:
        return problem(404, f"there is no dead letter {seq}; it may have been replayed or purged")
    return answer(letters_listed(letters)[0])


# Replaying and purging

WHICH = '{"seqs": [17, 18]}, {"q": "+level:error timeout", "since": "2025-01-25T20:00:00Z"} or {"all": true}'


class Chosen(msgspec.Struct, forbid_unknown_fields=True):
    """Dead letters, by number or by what they say and when they failed."""

    seqs: (
        Annotated[list[Annotated[int, Meta(ge=1, lt=1 << 62)]], Meta(min_length=1, max_length=100_000)] | None
    ) = None
    q: Annotated[str, Meta(min_length=1, max_length=MAX_QUERY)] | None = None
    since: str | None = None
    until: str | None = None
    all: bool = False
    """Every one: said in so many words, so that a forgotten field does not mean it."""

    def __post_init__(self) -> None:
        filtered = any(field is not None for field in (self.q, self.since, self.until))
        if (self.seqs is not None) + filtered + self.all != 1:
            raise ValueError("there must be seqs, or some of q, since and until, or all")
        self.letters()

    def letters(self) -> Letters:
        """The choice in the state's words."""
        since_ms = None if self.since is None else moment(self.since, "since")
        until_ms = None if self.until is None else moment(self.until, "until")
        return Letters(self.seqs, self.q, since_ms, until_ms)


class ReplayWanted(Chosen):
    """Which dead letters are to become packets again, and how fast."""

    rate: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    """Packets a second; null: as fast as it goes."""
    dry_run: bool = False


class PurgeWanted(Chosen):
    """Which dead letters are to be removed for good."""

    dry_run: bool = True


async def replay_dead_letters(request: web.Request) -> web.Response:
    """Makes packets of dead letters again, with their old ids and no attempts: 202 while it goes on."""
    wanted = await decoded(request, ReplayWanted, WHICH)
    if isinstance(wanted, web.Response):
        return wanted
    distributor = request.app[DISTRIBUTOR]
    try:
        if wanted.dry_run:
            return await how_many(distributor, wanted)
        replaying = await distributor.replay_dead_letters(wanted.letters(), rate=wanted.rate)
    except Busy as error:
        return problem(409, f"{error}; GET {request.path} tells how far it is, DELETE stops it")
    except BadQuery as error:
        return problem(400, f"q cannot be read: {error}")
    except SpoolError as error:
        return problem(503, str(error), headers=retry_after(1))
    return answer(progress_of(replaying), 202)


async def how_many(distributor: Distributor, wanted: Chosen) -> web.Response:
    """What a dry run tells."""
    return answer({"dry_run": True, "matching": await distributor.count_dead_letters(wanted.letters())})


async def tell_replaying(request: web.Request) -> web.Response:
    """How far the last replay is."""
    replaying = request.app[DISTRIBUTOR].replaying
    if replaying is None:
        return problem(404, "nothing was replayed since the start")
    return answer(progress_of(replaying))


async def stop_replaying(request: web.Request) -> web.Response:
    """Ends a replay that is under way; what was replayed stays so."""
    replaying = request.app[DISTRIBUTOR].replaying
    if replaying is None:
        return problem(404, "nothing was replayed since the start")
    replaying.cancel()
    return answer(progress_of(replaying))


def progress_of(replaying: Replaying) -> dict[str, Any]:
    members = {name: getattr(replaying, name) for name in ("total", "replayed", "gone", "done")}
    return members | ({"error": replaying.error} if replaying.error else {})


async def purge_dead_letters(request: web.Request) -> web.Response:
    """Removes dead letters for good, or, unless `dry_run` is false, only tells how many it would be."""
    wanted = await decoded(request, PurgeWanted, WHICH)
    if isinstance(wanted, web.Response):
        return wanted
    distributor = request.app[DISTRIBUTOR]
    try:
        if wanted.dry_run:
            return await how_many(distributor, wanted)
        return answer({"dry_run": False, "purged": await distributor.purge_dead_letters(wanted.letters())})
    except BadQuery as error:
        return problem(400, f"q cannot be read: {error}")
    except SpoolError as error:
        return problem(503, str(error), headers=retry_after(1))
