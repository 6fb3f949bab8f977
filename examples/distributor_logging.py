"""A program logs to a distributor that is not there yet; nothing is lost, and nothing arrives twice."""

import json
import logging
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from penstock.services.distributor.client import DistributorHandler

ARRIVED = Path("arrived.ndjson")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def start_distributor(port: int) -> subprocess.Popen[str]:
    """A distributor whose only analyzer is a file."""
    process = subprocess.Popen(
        [sys.executable, "-m", "penstock", "distribute", "--port", str(port), "--data-dir", "data",
         "--analyzer", f"file=file://{ARRIVED.resolve()}@1"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if re.match("Ctrl-C", line):
            break
    return process


def messages() -> list[dict[str, Any]]:
    """What has arrived at the analyzer."""
    lines = ARRIVED.read_text().splitlines() if ARRIVED.exists() else []
    return [message for line in lines for message in json.loads(line)["messages"]]


def main() -> None:
    port = free_port()
    handler = DistributorHandler(f"http://127.0.0.1:{port}", spool="unsent")
    log = logging.getLogger("shop")
    log.addHandler(handler)
    log.setLevel(logging.INFO)

    for number in range(3):
        log.info("order %d placed", number, extra={"order": number})
    handler.flush()
    print("no distributor yet:  ", handler.figures)

    distributor = start_distributor(port)
    try:
        log.warning("order 3 has no address")
        while len(arrived := messages()) < 4:
            handler.flush(1)
        print("distributor is there:", handler.figures)
    finally:
        distributor.send_signal(signal.SIGTERM)
        distributor.communicate(timeout=30)
    handler.close()
    for message in arrived:
        print(f"  {message['level']:<8} {message['message']}  {message.get('metadata', '')}")


if __name__ == "__main__":
    main()
