"""A distributor that answers as a test tells it, in a thread, and keeps what it took."""

import json
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def taken(packets):
    """The answer to packets that are all accepted."""
    return 202, {
        "total_packets": len(packets), "successful": len(packets), "failed": 0,
        "processed_packets": [packet["id"] for packet in packets],
    }  # fmt: skip


def some(packets, refused, status=207):
    """The answer to packets of which some are refused: by index, the code."""
    errors = [{"index": index, "code": code, "error": f"it is {code}"} for index, code in refused.items()]
    return status, {
        "total_packets": len(packets), "successful": len(packets) - len(refused), "failed": len(refused),
        "errors": errors,
    }  # fmt: skip


class Scripted:
    """Takes packets once by id, as a distributor does; `script` makes the next answers.

    Each of the script is a function of the packets that gives status, body and, if it likes, headers, or such
    a tuple, or None, for a connection that is closed without an answer. After the last, all is accepted.
    """

    def __init__(self):
        self.requests = []  # the packets of each
        self.heads = []
        self.packets = {}  # by id, the first of each
        self.script = []
        self.gate = threading.Event()
        self.gate.set()

    @property
    def texts(self):
        """What was said, in the order of arrival."""
        return [message["message"] for packet in self.packets.values() for message in packet["messages"]]

    def answer(self, packets):
        self.requests.append(packets)
        step = self.script.pop(0) if self.script else taken
        answered = step(packets) if callable(step) else step
        if answered is None:
            return None
        status, body, *headers = answered
        if status in (202, 207):
            failed = {error["index"] for error in body.get("errors", ())}
            for index, packet in enumerate(packets):
                if index not in failed:
                    self.packets.setdefault(packet["id"], packet)
        return status, body, headers[0] if headers else {}


@contextmanager
def scripted(port=0, context=None):
    """Serves; gives what there is to script and to see, with its `url`."""
    served = Scripted()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_POST(self):
            packets = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.heads.append((self.path, dict(self.headers)))
            served.gate.wait(30)
            answered = served.answer(packets)
            if answered is None:
                self.close_connection = True
                return
            status, body, headers = answered
            data = json.dumps(body).encode() if not isinstance(body, bytes) else body
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False
        block_on_close = True

        def handle_error(self, request, client_address):
            pass  # a client that went away

        def shutdown_request(self, request):
            open_.discard(request)
            super().shutdown_request(request)

        def process_request(self, request, client_address):
            open_.add(request)
            super().process_request(request, client_address)

    open_ = set()
    server = Server(("127.0.0.1", port), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if context is None else "https"
    served.port = server.server_address[1]
    served.url = f"{scheme}://127.0.0.1:{served.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.gate.set()
        server.shutdown()
        thread.join()
        for connection in list(open_):  # kept alive by clients that are still there
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
