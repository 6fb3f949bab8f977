"""A distributor whose analyzers are of every kind: each gets its share, and each packet arrives once."""

import asyncio
import json
import re
import sys

import aiohttp
import msgspec
from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from services.distributor.analyzer_servers import http_server
from services.distributor.processes import as_toml


async def test_four_kinds_of_analyzers_share_the_packets(tmp_path):
    by_http, by_otlp = [], []

    async def take_lines(request):
        by_http.extend(ids_in(await request.read()))
        return web.Response()

    async def take_otlp(request):
        logs = ExportLogsServiceRequest.FromString(await request.read()).resource_logs
        records = [record for one in logs for scope in one.scope_logs for record in scope.log_records]
        for record in records:
            values = {one.key: one.value.string_value for one in record.attributes}
            by_otlp.append(values["penstock.packet.id"])
        return web.Response()

    async with http_server(take_lines) as http, http_server(take_otlp) as otlp:
        settings = {
            "port": 0, "data_dir": str(tmp_path / "data"), "linger": 0.0,
            "analyzers": [
                {"id": "http", "url": http.url, "weight": 4},
                {"id": "otlp", "url": otlp.url, "weight": 3, "kind": "otlp"},
                {"id": "file", "url": f"file://{tmp_path}/packets.ndjson", "weight": 2},
                {"id": "stdout", "url": "stdout:", "weight": 1},
            ],
        }  # fmt: skip
        by_stdout = ids_in(await sent_through(settings, tmp_path, [f"p{n}" for n in range(100)]))
    by_file = ids_in((tmp_path / "packets.ndjson").read_bytes())
    assert [len(ids) for ids in (by_http, by_otlp, by_file, by_stdout)] == [40, 30, 20, 10]
    assert sorted(by_http + by_otlp + by_file + by_stdout) == sorted(f"p{n}" for n in range(100))


def ids_in(lines):
    return [msgspec.json.decode(line)["id"] for line in lines.splitlines()]


async def sent_through(settings, folder, ids):
    """Sends packets to a distributor with these settings until all are delivered; returns its output."""
    (folder / "distributor.toml").write_text(as_toml(settings))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "penstock", "distribute", "--config", str(folder / "distributor.toml"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output = asyncio.create_task(process.stdout.read())
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            url = await address(process.stderr)
            errors = asyncio.create_task(process.stderr.read())
            packets = [{"id": id_, "messages": [{"message": f"log line of {id_}"}]} for id_ in ids]
            async with session.post(f"{url}/api/v1/logs", json=packets) as answer:
                assert answer.status == 202
            while await pending(session, url):
                await asyncio.sleep(0.02)
            process.terminate()
            assert await process.wait() == 0, await errors
            await errors
            return await output
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await output


async def address(errors):
    """Where it says that it listens: not on standard output, which belongs to the packets."""
    lines = []
    while line := (await errors.readline()).decode():
        lines.append(line)
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found[0]
    raise RuntimeError(f"the distributor did not start: {''.join(lines)}")


async def pending(session, url):
    async with session.get(f"{url}/api/v1/stats") as answer:
        return json.loads(await answer.read())["pending"]
