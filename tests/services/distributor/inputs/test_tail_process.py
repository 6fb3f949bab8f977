"""A whole distributor follows files that are written and rotated by logrotate, and is killed meanwhile."""

import asyncio
import random
import shutil
import subprocess
from collections import Counter

import pytest

from penstock.services.distributor.config import TailConfig
from penstock.services.distributor.inputs import tail as tail_module
from services.distributor.inputs.arrival import RECORDS, arriving, log_lines, sink
from services.distributor.inputs.stream_intake import all_arrive
from services.distributor.processes import distributor

KILLS = 2 if RECORDS <= 2000 else 5


def rotated(folder, file, how):
    """Rotates a file now."""
    program = shutil.which("logrotate") or shutil.which("/usr/sbin/logrotate")
    assert program, "logrotate is missing: scripts/setup-engines installs it"
    settings = folder / "logrotate.conf"
    settings.write_text(f"su root root\n{file} {{\n rotate 100\n {how}\n}}\n")
    state = folder / "logrotate.state"
    subprocess.run([program, "--force", "--state", str(state), str(settings)], check=True, timeout=30)


class Writer:
    """A program that appends lines to a file, which it opens anew for each."""

    def __init__(self, file):
        self.file = file
        self.written = []

    def write(self, lines):
        with self.file.open("a", newline="") as file:
            file.writelines(f"{line}\n" for line in lines)
        self.written += lines


async def test_log_lines_in_a_file_arrive_once_and_unchanged(tmp_path, monkeypatch):
    monkeypatch.setattr(tail_module, "INTERVAL", 0.02)
    lines, logs = log_lines(), tmp_path / "logs"
    logs.mkdir()
    tail = TailConfig(str(logs / "*.log"), source="app")
    async with arriving(tmp_path / "data", tail=(tail,)) as arrival:
        writer = Writer(logs / "app.log")
        for start in range(0, len(lines), 100):
            writer.write(lines[start : start + 100])
            await asyncio.sleep(0)
        await all_arrive(arrival, lines)
    assert {message.source for message in arrival.messages} == {"app"}


@pytest.mark.engine
@pytest.mark.parametrize("how", ["create", "copytruncate"])
async def test_kills_and_rotations_neither_lose_nor_repeat_a_line(tmp_path, how):
    """Truncation is asked for between kills only: what was written after the copy nobody can have back."""
    logs = tmp_path / "logs"
    logs.mkdir()
    writer, dice, packets = Writer(logs / "app.log"), random.Random(7), {}

    def take(delivered):
        packets.update((packet.id, packet.messages) for packet in delivered)

    async with sink(take) as analyzer:
        settings = {
            "analyzers": [{"id": "a1", "url": analyzer}],
            "tail": [{"path": str(logs / "app.log*")}],
            "durability": "os",
            "linger": 0.001,
            "drain_timeout": 5.0,
        }
        for number in range(KILLS):
            async with distributor(tmp_path, settings) as process:
                for part in range(20):
                    writer.write([f"{number} {part} {i}" for i in range(RECORDS // 200)])
                    if part % 8 == 4:
                        await asyncio.to_thread(rotated, tmp_path, writer.file, how)
                    await asyncio.sleep(dice.random() * 0.05)
                process.kill()
                await process.ended()
        async with distributor(tmp_path, settings) as process:
            seen = -1
            while seen != (seen := sum(map(len, packets.values()))) or seen < len(writer.written):
                if seen > len(writer.written):
                    break
                await asyncio.sleep(1.5)
            process.terminate()
            assert await process.ended() == 0
    arrived = Counter(message.message for messages in packets.values() for message in messages)
    expected = Counter(writer.written)
    assert not (expected - arrived), f"lost: {sorted(expected - arrived)[:5]}"
    assert not (arrived - expected), f"repeated: {sorted(arrived - expected)[:5]}"
