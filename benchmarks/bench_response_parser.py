"""Answers through the HTTP/1.1 response parser: whole, in small pieces, and in chunks."""

from importlib import import_module

SHORT = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sun, 29 Nov 2026 05:30:00 GMT\r\n"
    b"Content-Type: text/plain\r\nContent-Length: 100\r\nConnection: keep-alive\r\n\r\n" + b"x" * 100
)
PIECES = [SHORT[at : at + 50] for at in range(0, len(SHORT), 50)]
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"400\r\n%s\r\n" % bytes(1024) * 100
    + b"0\r\n\r\n"
)


class ResponseParser:
    params = ("c", "py")
    param_names = ("impl",)

    def setup(self, impl):
        module = import_module(f"penstock.probing._response_parser_{impl}")
        self.parser = module.ResponseParser(keep_body=100)

    def time_short_answer_1k(self, impl):
        parser = self.parser
        for _ in range(1000):
            parser.reset()
            parser.feed(SHORT)

    def time_short_answer_in_pieces_1k(self, impl):
        parser = self.parser
        for _ in range(1000):
            parser.reset()
            for piece in PIECES:
                parser.feed(piece)

    def time_100_chunks_of_1_kib(self, impl):
        self.parser.reset()
        self.parser.feed(CHUNKED)
