"""What ping.py plays on: servers on one core, clients on another, all processes ended with the stage."""

import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np

PEERS = Path(__file__).parent / "peers"
CLIENTS = Path(__file__).parent / "ping_clients.py"
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
SERVER_CORE, CLIENT_CORE = CORES[0], CORES[-1]
JIFFY = 100  # a second has so many in /proc
PATIENCE = 60  # seconds for any client: more is a failure, and it is ended

NGINX = """
worker_processes 1;
error_log stderr crit;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    default_type text/plain;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        listen 127.0.0.1:{tls_port} ssl backlog=4096;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        ssl_protocols TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
        location / {{ return 200 "{body}"; }}
    }}
}}
"""


class Unable(Exception):
    """A contestant cannot take part; says why."""


class Sample(NamedTuple):
    """One run of a client."""

    figures: dict
    cpu: float
    """Seconds of processor, start and end of the process included."""
    foreign: float
    """Processors that everything else on the machine took meanwhile."""


class Server(NamedTuple):
    """A server that is up."""

    url: str
    process: subprocess.Popen
    books: Path | None = None
    tls_url: str = ""
    ca: str = ""

    def delays(self, since=0):
        """(n, 3) int64: number in the path, ns when a request was read, and when it was answered."""
        return np.fromfile(self.books, np.int64, 3 * (self.booked() + 1)).reshape(-1, 3)[1 + since :]

    def booked(self):
        return int(np.fromfile(self.books, np.int64, 1)[0])


class Stage:
    """Starts what is asked for, each on its core; a context manager that ends it all."""

    def __init__(self):
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-")))
        self.built = {}

    def __enter__(self):
        if sys.platform != "linux":
            raise Unable("only Linux says what ran on which core, and for how long")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the stack as Ctrl-C does
        return self

    def __exit__(self, *error):
        return self.stack.__exit__(*error)

    def started(self, command, core, **options):
        """A process on a core, ended by its id with the stage."""
        os.sched_setaffinity(0, {core})  # the process inherits it
        try:
            process = subprocess.Popen(command, **options)
        finally:
            os.sched_setaffinity(0, CORES)
        self.stack.callback(end, process)
        return process

    @contextmanager
    def hog(self):
        """Keeps the clients' core busy meanwhile."""
        process = self.started([sys.executable, "-c", "while True: pass"], CLIENT_CORE)
        time.sleep(0.1)
        try:
            yield
        finally:
            end(process)

    def program(self, name, build):
        """The path of a peer, built once; Unable says why not."""
        if name not in self.built:
            try:
                self.built[name] = build()
            except Unable as error:
                self.built[name] = error
        if isinstance(self.built[name], Unable):
            raise self.built[name]
        return self.built[name]

    def goping(self):
        """Go's net/http, built here."""
        return self.program("goping", self.build_goping)

    def build_goping(self):
        go = shutil.which("go") or next(filter(os.path.exists, ["/usr/local/go/bin/go"]), None)
        if go is None:
            raise Unable("go is not installed")
        program = str(self.folder / "goping")
        build([go, "build", "-o", program, "."], cwd=PEERS / "goping")
        return program

    def truth_server(self, delay_us):
        """Answers after so long, and keeps books."""
        program = self.program("truth_server", self.build_truth_server)
        books = self.folder / f"books-{time.monotonic_ns()}"
        process = self.started(
            [program, str(delay_us), str(books)], SERVER_CORE, stdout=subprocess.PIPE, text=True
        )
        port = int(process.stdout.readline().split()[1])
        return Server(f"http://127.0.0.1:{port}/", process, books)

    def build_truth_server(self):
        compiler = shutil.which(os.environ.get("CC", "cc"))
        if compiler is None:
            raise Unable("no C compiler")
        program = str(self.folder / "truth_server")
        build([compiler, "-O2", "-o", program, str(PEERS / "truth_server.c")])
        return program

    def nginx(self):
        """One worker; 100 bytes for everything, plain and over TLS 1.3 with a P-256 certificate."""
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if nginx is None:
            raise Unable("nginx is not installed")
        self.make_certificate()
        port, tls_port = free_ports(2)
        text = NGINX.format(folder=self.folder, port=port, tls_port=tls_port, body="." * 100)
        (self.folder / "nginx.conf").write_text(text)
        command = [nginx, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-g", "daemon off;"]
        process = self.started(command, SERVER_CORE, stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{port}/"
        wait_for(url)
        ca = str(self.folder / "certificate.pem")
        return Server(url, process, tls_url=f"https://127.0.0.1:{tls_port}/", ca=ca)

    def make_certificate(self):
        openssl = shutil.which("openssl")
        if openssl is None:
            raise Unable("openssl is not installed")
        files = ["-keyout", str(self.folder / "key.pem"), "-out", str(self.folder / "certificate.pem")]
        name = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        build([openssl, "req", "-x509", *curve, *files, *name])

    def client(self, command):
        """A client that was started, whose words are kept."""
        return self.started(
            command, CLIENT_CORE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )

    def sample(self, command, read, server):
        """Runs a client to its end and reads its figures from what it prints."""
        before, theirs = busy_seconds(), process_seconds(server)
        own, start = child_seconds(), time.perf_counter()
        out, said = words(self.client(command))
        took, cpu = time.perf_counter() - start, child_seconds() - own
        others = busy_seconds() - before - cpu - (process_seconds(server) - theirs)
        return Sample(read(out) | {"wall": took, "said": said}, cpu, max(others, 0) / took)

    def memory(self, command):
        """The most memory that a client held in the last half of its run, and in the first, in bytes."""
        process, seen = self.client(command), []
        with ThreadPoolExecutor(1) as reader:
            out = reader.submit(words, process)
            while not out.done():
                with suppress(OSError, StopIteration):
                    seen.append(resident_bytes(process.pid))
                time.sleep(0.02)
            out.result()
        middle = len(seen) // 2
        return max(seen[middle:], default=0), max(seen[:middle], default=0)


def words(process):
    """What a client prints until it ends, and the last line of its errors; Unable when it fails or hangs."""
    try:
        out, error = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        end(process)
        raise Unable(f"not done within {PATIENCE} s") from None
    said = (error.strip().splitlines() or [""])[-1][:200]
    if process.returncode:
        raise Unable(said or f"exit code {process.returncode}")
    return out, said


def resident_bytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS"))


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def build(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    if done.returncode:
        raise Unable(f"{command[0]}: {done.stderr.strip()[-200:]}")


def free_ports(n):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for(url):
    for _ in range(100):
        with suppress(OSError), urlopen(url, timeout=1) as answer:
            answer.read()
            return
        time.sleep(0.05)
    raise Unable(f"{url} does not answer")


def child_seconds():
    """Processor time of the processes that have ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def busy_seconds():
    """Processor time of everything on this machine."""
    user, nice, system, _idle, _wait, interrupt, soft, *_ = map(
        int, Path("/proc/stat").read_text().split(maxsplit=11)[1:11]
    )
    return (user + nice + system + interrupt + soft) / JIFFY


def process_seconds(server):
    """Processor time of a server and its children."""
    return sum(map(seconds_of, [server.process.pid, *children(server.process.pid)])) if server else 0.0


def children(pid):
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def seconds_of(pid):
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / JIFFY
    return 0.0


def read_json(out):
    return json.loads(out.splitlines()[-1])


UNITS = {"us": 1e3, "ms": 1e6, "s": 1e9, "secs": 1e9}


def read_wrk(out):
    """wrk -t1 --latency"""
    rate = float(re.search(r"Requests/sec:\s+([0-9.]+)", out)[1])
    total, seconds = re.search(r"(\d+) requests in ([0-9.]+)s", out).groups()
    percentiles = {
        share: float(value) * UNITS[unit]
        for share, value, unit in re.findall(r"(\d+)%\s+([0-9.]+)(us|ms|s)", out)
    }
    return {
        "requests": int(total),
        "errors": 0,
        "seconds": int(total) / rate if rate else float(seconds),
        "p50": percentiles["50"],
        "p99": percentiles["99"],
    }


def read_hey(out):
    rate = float(re.search(r"Requests/sec:\s+([0-9.]+)", out)[1])
    seconds = float(re.search(r"Total:\s+([0-9.]+) secs", out)[1])
    percentiles = {
        share: float(value) * 1e9 for share, value in re.findall(r"(\d+)%+ in ([0-9.]+) secs", out)
    }
    return {
        "requests": round(rate * seconds),
        "errors": 0,
        "seconds": seconds,
        "p50": percentiles["50"],
        "p99": percentiles["99"],
    }


def quietest(samples):
    """The half of them during which the machine did the least else."""
    return sorted(samples, key=lambda sample: sample.foreign)[: (len(samples) + 1) // 2]


def middle(samples, figure):
    """The median of a figure over the quietest runs."""
    return median(figure(sample) for sample in quietest(samples))
