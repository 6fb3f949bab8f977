"""The order of SmoothWeighted is nginx's own: a real nginx is asked, one request after the other."""

import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import engines
from penstock.balancing import Balancer, RoundRobin, SmoothWeighted, WeightedLeastConnections

pytestmark = pytest.mark.engine

CONFIG = """
daemon off;
master_process off;  # one process, which begins at the beginning
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream members {{
        {method}
        {upstream}
    }}
    server {{ listen unix:front.sock; location / {{ proxy_pass http://members; }} }}
    {servers}
}}
"""


def config_of(members, method):
    """Members that answer with their name, and a front that balances over them; `down` as nginx marks it."""
    upstream = [f"server unix:{name}.sock {settings};" for name, settings in members.items()]
    servers = [f"server {{ listen unix:{name}.sock; return 200 {name}; }}" for name in members]
    return CONFIG.format(method=method, upstream="\n".join(upstream), servers="\n".join(servers))


@contextmanager
def nginx(members, method=""):
    """A running nginx, as a function that sends it one request and returns who answered."""
    program = engines.require("nginx")
    with tempfile.TemporaryDirectory(prefix="nginx") as folder:  # short: paths of sockets have 107 bytes
        here = Path(folder)
        config = config_of(members, method).replace("unix:", f"unix:{folder}/")
        (here / "nginx.conf").write_text(config)
        command = [program, "-p", folder, "-c", "nginx.conf", "-e", "stderr"]
        with (here / "log").open("w") as log, subprocess.Popen(command, stderr=log) as server:
            try:
                wait_for(here / "front.sock", server, here / "log")
                yield lambda: ask(here / "front.sock")
            finally:
                server.kill()


def wait_for(path, server, log):
    for _ in range(1_000):
        assert server.poll() is None, log.read_text()
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:  # no request: it is not balanced
                return
        time.sleep(0.01)
    pytest.fail(f"nginx does not start: {log.read_text()}")


def ask(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b" 200 OK" in head, answer
    return body.decode()


def order(balancer, n):
    names = []
    for _ in range(n):
        with balancer.pick() as lease:
            names.append(lease.member)
    return names


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 5, "b": 1, "c": 1},
        {"a": 1, "b": 1, "c": 1},
        {"a": 4, "b": 3, "c": 2, "d": 1},
        {"a": 12, "b": 12, "c": 3, "d": 1, "e": 1},
        {"a": 1, "b": 7, "c": 7, "d": 100},
    ],
    ids=lambda weights: "-".join(map(str, weights.values())),
)
def test_smooth_weighted_has_nginx_order(weights):
    with nginx({name: f"weight={weight}" for name, weight in weights.items()}) as answered:
        seen = [answered() for _ in range(150)]
    assert seen == order(Balancer(weights, policy=SmoothWeighted()), 150)


def test_smooth_weighted_has_nginx_order_with_a_member_down():
    weights = {"a": 5, "b": 3, "c": 2}
    with nginx({"a": "weight=5", "b": "weight=3 down", "c": "weight=2"}) as answered:
        seen = [answered() for _ in range(50)]
    balancer = Balancer(weights)
    balancer.mark_down("b")
    assert seen == order(balancer, 50)


def test_round_robin_has_nginx_order():
    with nginx(dict.fromkeys("abc", "")) as answered:
        seen = [answered() for _ in range(20)]
    assert seen == order(Balancer(dict.fromkeys("abc", 1), policy=RoundRobin()), 20)


def test_idle_members_have_the_order_of_nginx_least_conn():
    weights = {"a": 1, "b": 4, "c": 2}
    members = {name: f"weight={weight}" for name, weight in weights.items()}
    with nginx(members, "least_conn;") as answered:
        seen = [answered() for _ in range(50)]
    assert seen == order(Balancer(weights, policy=WeightedLeastConnections()), 50)
