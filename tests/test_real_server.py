"""The servers of the tests: their port is theirs alone, they hang at once, and none is left behind."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

import real_server
from ports import free_port
from real_server import ENDED, STOPPED, RealServer, states, wait_for_threads

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, as Linux has it")

SERVE = """
import socket, sys, threading
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
def serve():
    while True:
        connection, _ = listener.accept()
        with connection:
            while asked := connection.recv(100):
                connection.sendall(asked)
for _ in range(20):
    threading.Thread(target=serve).start()
"""
LEAVE_BEHIND = """
import os, signal, sys
from pathlib import Path
from test_real_server import Echo
server = Echo(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


class Echo(RealServer):
    """Answers with what it was sent, on 20 threads."""

    def __init__(self, folder, code=SERVE):
        super().__init__(sys.executable, folder)
        self._code = code

    def _arguments(self):
        return ["-c", self._code, str(self.port)]


@pytest.fixture
def server(tmp_path):
    with Echo(tmp_path / "echo") as server:
        yield server


def connected(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=30)


def test_frozen_server_takes_connections_and_answers_when_it_has_thawed(server):
    with connected(server) as before:
        server.freeze()
        assert states(server.pid) <= STOPPED
        with connected(server) as later:
            before.sendall(b"asked before")
            later.sendall(b"asked later")
            for connection in (before, later):
                connection.setblocking(False)
                with pytest.raises(BlockingIOError):
                    connection.recv(100)
                connection.settimeout(30)
            server.thaw()
            assert before.recv(100) == b"asked before"
            assert later.recv(100) == b"asked later"


def test_freeze_returns_when_every_thread_stands_still(server, monkeypatch):
    looks = [{"S", "R"}, {"S", "T"}, {"T"}]
    monkeypatch.setattr(real_server, "states", lambda pid: looks.pop(0))
    server.freeze()
    assert looks == []


def test_stopped_server_refuses_and_has_its_port_again_at_the_next_start(server):
    port = server.port
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        connected(server)
    server.start()
    assert server.port == port
    with connected(server) as connection:
        connection.sendall(b"again")
        assert connection.recv(100) == b"again"


def test_frozen_server_can_be_stopped(server):
    server.freeze()
    server.stop()
    with pytest.raises(ConnectionRefusedError):
        connected(server)


def test_free_port_is_given_to_nobody_who_asks_for_any_port():
    kept = {free_port() for _ in range(50)}
    assert len(kept) == 50
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1000))
        others = set()
        for _ in range(300):
            others.add(stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1])
            client = stack.enter_context(socket.create_connection(listener.getsockname()))
            others.add(client.getsockname()[1])
    assert not others & kept


def test_server_that_does_not_start_is_told_with_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match="does not start: no turbine today"):
        Echo(tmp_path / "echo", "import sys; sys.exit('no turbine today')").start()


def test_server_ends_with_the_tests_though_they_are_killed(tmp_path):
    tests = subprocess.run(
        [sys.executable, "-c", LEAVE_BEHIND, str(tmp_path / "echo")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert tests.returncode == -signal.SIGKILL
    wait_for_threads(int(tests.stdout), ENDED)
