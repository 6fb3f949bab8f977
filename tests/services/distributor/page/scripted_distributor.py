"""A distributor whose answers a test writes."""

import asyncio
import json

from aiohttp import web

from penstock.services.distributor.page import PAGE

HOSTILE = """"><img src=x onerror="document.title='owned'"><script>document.title='owned'</script>"""


def analyzer(name, weight):
    return {
        "name": f"Analyzer {name}",
        "url": "http://127.0.0.1:9001",
        "is_healthy": True,
        "held_down": False,
        "processed_count": 130 * weight,
        "error_count": 3,
        "weight": weight,
        "target_share": weight / 100,
        "first_assigned": 133 * weight,
        "share": weight / 100 + 0.001,
        "share_error_packets": 0.4,
        "queued": 17,
        "in_flight": 2,
        "last_error": "",
        "group": "default",
        "tier": 0,
        "state": "up",
        "override": None,
        "override_reason": "",
        "override_ends_in": None,
        "concurrency": 4,
        "batch_packets": 500,
        "delivery_ms": {"p50": 3.24, "p99": 41.7},
    }


def problem(status, title, detail):
    body = {"title": title, "detail": detail, "status": status}
    return web.json_response(body, status=status, content_type="application/problem+json")


class ScriptedDistributor:
    """Answers as the distributor's API does, with what a test writes into its attributes.

    Attributes:
        asked: method, path and body of every request that changes something, in order.
        refusal: a problem that such requests are answered with.
        key: the API key that must be shown; None: none.
        fault: a response that stats are answered with.
        flowing: while it is cleared, stats are not answered at all.
        stories: events by the id of a packet.
        tails: the filters of the streams that were asked for.
        replay: the progress of the last replay.
    """

    def __init__(self):
        self.port = 0
        self.dead_letters = []
        self.dead_letter_reads = 0
        self.searched_for = []
        self.asked = []
        self.refusal = None
        self.key = None
        self.fault = None
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.stories = {}
        self.tails = []
        self.streams = []
        self.replay = None
        self.stats = {
            "packet_channel_util_percent": 23.4,
            "result_channel_util_percent": 78,
            "retry_channel_util_percent": 97.5,
            "uptime_seconds": 323.5,
            "status": "healthy",
            "draining": False,
            "durability": "fsync",
            "accepted": 12_503,
            "messages_accepted": 28_300,
            "replayed": 0,
            "delivered": 12_431,
            "dead": 0,
            "purged": 0,
            "lost": 0,
            "pending": 72,
            "pending_bytes": 36_864,
            "retrying": 7,
            "refused": 4,
            "refused_records": 6,
            "limited_requests": 0,
            "duplicates": 1,
            "conservation_error": 0,
            "accept_ms": {"p50": 0.42, "p99": 12.6},
            "inputs": {},
            "analyzers": {f"a{i}": analyzer("ABCD"[i], 40 - 10 * i) for i in range(4)},
        }

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def count(self, seconds=1.0, accepted=0, messages=0, delivered=0):
        gains = {"uptime_seconds": seconds, "accepted": accepted, "messages_accepted": messages}
        for name, gain in (gains | {"delivered": delivered}).items():
            self.stats[name] += gain

    def assign(self, **packets):
        for id_, number in packets.items():
            self.stats["analyzers"][id_]["first_assigned"] += number

    def bury(self, packet_id, *messages, error="analyzer crashed during processing"):
        self.stats["dead"] += 1
        self.dead_letters.append(
            {
                "seq": self.stats["dead"],
                "packet": {"id": packet_id, "messages": messages, "retry_count": 3},
                "final_error": error,
                "failed_at": f"2025-01-25T10:00:{self.stats['dead']:02}Z",
            }
        )

    async def start(self):
        app = web.Application(middlewares=[self.require_key])
        app.router.add_get("/", self.answer_page)
        app.router.add_get("/api/v1/stats", self.answer_stats)
        app.router.add_get("/api/v1/dead-letter", self.answer_dead_letters)
        app.router.add_get("/api/v1/dead-letter/replay", self.answer_progress)
        app.router.add_get("/api/v1/packets/{id}", self.answer_story)
        app.router.add_get("/api/v1/tail", self.answer_tail)
        for method, path, answer in (
            ("POST", "/api/v1/analyzers/{id}/health", self.answer_health),
            ("POST", "/api/v1/analyzers", self.answer_added),
            ("PATCH", "/api/v1/analyzers/{id}", self.answer_changed),
            ("DELETE", "/api/v1/analyzers/{id}", self.answer_removed),
            ("POST", "/api/v1/dead-letter/replay", self.answer_replay),
            ("DELETE", "/api/v1/dead-letter/replay", self.answer_stopped),
            ("POST", "/api/v1/dead-letter/purge", self.answer_purge),
        ):
            app.router.add_route(method, path, self.noting(answer))
        self.runner = web.AppRunner(app, shutdown_timeout=0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self):
        self.end_tails()
        await self.runner.cleanup()

    @web.middleware
    async def require_key(self, request, handler):
        if self.key and request.path != "/" and request.headers.get("Authorization") != f"Bearer {self.key}":
            return problem(401, "Unauthorized", "show a valid API key")
        return await handler(request)

    def noting(self, answer):
        async def handler(request):
            wanted = await request.json() if request.can_read_body else None
            assert wanted is None or request.content_type == "application/json"
            self.asked.append((request.method, request.path, wanted))
            return self.refusal() if self.refusal else answer(request.match_info.get("id"), wanted)

        return handler

    async def answer_page(self, request):
        return web.Response(body=PAGE, content_type="text/html")

    async def answer_stats(self, request):
        await self.flowing.wait()
        return self.fault or web.json_response(self.stats)

    # Analyzers

    def answer_health(self, id_, wanted):
        if "healthy" in wanted:
            healthy = wanted["healthy"]
            self.stats["analyzers"][id_].update(
                is_healthy=healthy, held_down=not healthy, override=None if healthy else "down"
            )
        else:
            self.stats["analyzers"][id_].update(
                override=wanted["state"],
                override_reason=wanted.get("reason", ""),
                override_ends_in=wanted.get("ttl"),
                is_healthy=wanted["state"] in (None, "up"),
                held_down=wanted["state"] == "down",
            )
        return web.json_response({})

    def answer_added(self, _, wanted):
        added = analyzer("", wanted["weight"]) | {"name": wanted["name"] or wanted["id"]}
        self.stats["analyzers"][wanted["id"]] = added
        return web.json_response({"changed": []}, status=201)

    def answer_changed(self, id_, wanted):
        self.stats["analyzers"][id_].update(wanted)
        return web.json_response({"changed": []})

    def answer_removed(self, id_, _):
        del self.stats["analyzers"][id_]
        return web.json_response({"changed": []})

    # Dead letters

    async def answer_dead_letters(self, request):
        self.dead_letter_reads += 1
        self.searched_for.append(query := request.query.get("q", ""))
        if query.endswith(":"):
            return problem(400, "Bad Request", "q cannot be read: a word must follow")
        matching = self.matching({"q": query})
        told = {"Penstock-Found": str(len(matching)), "Penstock-Searched": str(len(self.dead_letters))}
        return web.json_response(matching[-int(request.query["limit"]) :], headers=told if query else None)

    def matching(self, wanted):
        if "seqs" in wanted:
            return [letter for letter in self.dead_letters if letter["seq"] in wanted["seqs"]]
        return [letter for letter in self.dead_letters if wanted.get("q", "") in json.dumps(letter)]

    def take_out(self, wanted, count):
        gone = self.matching(wanted)
        self.dead_letters = [letter for letter in self.dead_letters if letter not in gone]
        self.stats[count] += len(gone)
        return len(gone)

    def answer_replay(self, _, wanted):
        if wanted.get("dry_run"):
            return web.json_response({"dry_run": True, "matching": len(self.matching(wanted))})
        self.replay = {"total": len(self.matching(wanted)), "replayed": 0, "gone": 0, "done": False}
        return web.json_response(self.replay, status=202)

    async def answer_progress(self, request):
        return web.json_response(self.replay)

    def answer_stopped(self, *_):
        self.replay |= {"done": True, "error": "it was cancelled"}
        return web.json_response(self.replay)

    def answer_purge(self, _, wanted):
        if wanted["dry_run"]:
            return web.json_response({"dry_run": True, "matching": len(self.matching(wanted))})
        return web.json_response({"dry_run": False, "purged": self.take_out(wanted, "purged")})

    # Packets

    async def answer_story(self, request):
        id_ = request.match_info["id"]
        if id_ not in self.stories:
            return problem(404, "Not Found", f"the journal knows nothing of a packet {id_!r}, or no more")
        return web.json_response({"id": id_, "events": self.stories[id_]})

    async def answer_tail(self, request):
        self.tails.append([*request.query.items()])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": watching\n\n")
        self.streams.append(blocks := asyncio.Queue())
        while (block := await blocks.get()) is not None:
            await response.write(block)
        return response

    async def watched(self, streams=1):
        """Returns once so many streams were asked for."""
        async with asyncio.timeout(10):
            while len(self.tails) < streams or len(self.streams) == 0:
                await asyncio.sleep(0.005)

    def pass_by(self, event, /, **members):
        """Tells the last stream of an event."""
        self.streams[-1].put_nowait(f"event: {event}\ndata: {json.dumps(members)}\n\n".encode())

    def end_tails(self):
        while self.streams:
            self.streams.pop().put_nowait(None)
