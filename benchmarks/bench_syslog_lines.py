"""How long SyslogLines takes for lines of 256 bytes."""

from importlib import import_module

RFC_5424 = (
    b"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog 1111 ID47"
    b' [exampleSDID@32473 iut="3" eventSource="Application"] An application event log entry: '
)
RFC_3164 = b"<38>Oct 11 22:14:15 mymachine sshd[1234]: Accepted publickey for root from 10.0.0.99: "


class SyslogLines:
    params = (("c", "py"), ("rfc5424", "rfc3164", "neither", "quotes"))
    param_names = ("impl", "syntax")

    def setup(self, impl, syntax):
        module = import_module(f"penstock.services.distributor.inputs._syslog_lines_{impl}")
        self.lines = module.SyslogLines(256 * 1024, 1024 * 1024)
        heads = {"rfc5424": RFC_5424, "rfc3164": RFC_3164, "neither": b"", "quotes": b'<13>"a" \\ \t' * 20}
        head = heads[syntax]
        self.stream = (head.ljust(255, b"x")[:255] + b"\n") * 1000
        self.counted = (b"255 " + RFC_5424.ljust(255, b"x")) * 1000

    def time_read_1k(self, impl, syntax):
        self.lines.read(self.stream)

    def time_read_counted_1k(self, impl, syntax):
        self.lines.read(self.counted)
