"""What must hold of an answer, or of a whole run: `status==200`, `header:content-type~json`, `p99<300ms`.

An assertion is a subject, an operator and a value::

    status==200        status==2xx,304    status!=500      body~"ready"       body!~error
    header:server==x   json:db.up==true   tls<200ms        ttfb<50ms          cert>14d
    p99<300ms          max<2s             errors<1%        rate>=95           lag<1ms

`~` searches for a regular expression, `!~` for its absence.
"""

import json
import operator
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, Protocol

from penstock.errors import InvalidValue
from penstock.probing.exchange import Exchange
from penstock.services.pinger.durations import duration_words, seconds_of
from penstock.services.pinger.model import Hop, Severity, Verdict
from penstock.services.printable import one_line

__all__ = ["Answer", "Assertion", "InvalidAssertion", "RunFigures", "parse_assertion"]

MAX_ASSERTION = 1_000
MAX_SHOWN = 60
MAX_STATUSES = 100

FORM = re.compile(
    r"\s*([a-z][a-z0-9.-]*?)(?::([\w.$\[\]-]+))?\s*(==|!=|<=|>=|!~|<|>|~)\s*(.*?)\s*", re.ASCII | re.DOTALL
)
PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,6})?)", re.ASCII)
STATUSES = re.compile(r"([1-9])xx|(\d{3})(?:-(\d{3}))?", re.ASCII)

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class InvalidAssertion(InvalidValue):
    """A text is no assertion."""


class Answer:
    """What assertions look at: the answer of a last attempt.

    Args:
        hops: its requests, at least one.
        latency: nanoseconds of the attempt.
        total: nanoseconds since it was due.
        now: seconds since 1970.
    """

    def __init__(self, hops: tuple[Hop, ...], latency: int, total: int, now: float) -> None:
        self.hops = hops
        self.latency = latency
        self.total = total
        self.now = now

    @property
    def last(self) -> Exchange:
        """What came of the last request."""
        return self.hops[-1].exchange

    def phase(self, name: str) -> float:
        """Seconds of a phase, over all requests of the attempt."""
        nanoseconds: int = sum(getattr(hop.exchange.phases, name) for hop in self.hops)
        return nanoseconds / 1e9

    @cached_property
    def text(self) -> str:
        """The body as far as it was kept, decompressed, with U+FFFD for what is no UTF-8."""
        return decoded(self.last).decode("utf-8", "replace")

    @cached_property
    def document(self) -> object:
        """The body's JSON; NOTHING when it is none."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return NOTHING


class RunFigures(Protocol):
    """What assertions look at: the figures of a run. Seconds and shares; None where nothing was counted."""

    def percentile(self, share: float) -> float | None: ...  # noqa: D102 - seconds within which that share came
    @property
    def least(self) -> float | None: ...  # noqa: D102
    @property
    def most(self) -> float | None: ...  # noqa: D102
    @property
    def mean(self) -> float | None: ...  # noqa: D102
    @property
    def error_share(self) -> float | None: ...  # noqa: D102
    @property
    def failed(self) -> int: ...  # noqa: D102
    @property
    def rate(self) -> float | None: ...  # noqa: D102 - pings a second
    @property
    def lag(self) -> float | None: ...  # noqa: D102 - of this process, p99


class Nothing:
    """What is not there: a header, a member of JSON, a certificate."""

    def __repr__(self) -> str:
        return "nothing"


NOTHING = Nothing()

Kind = Literal["status", "text", "number", "seconds", "percent"]


class Subject(NamedTuple):
    """What can be asserted.

    Attributes:
        kind: of its value, which decides what it can be compared with.
        read: its value of an answer, or of a run.
        of_run: whether it is known at the end only.
        keyed: whether it needs a key, as `header:NAME`.
        needs: what has to be kept of the answer: its body, or the facts of its certificate.
    """

    kind: Kind
    read: Callable[..., object]
    of_run: bool = False
    keyed: bool = False
    needs: Literal["", "body", "certificate"] = ""


def or_nothing(value: object) -> object:
    return NOTHING if value is None else value


def header_of(answer: Answer, name: str) -> object:
    return or_nothing(answer.last.header(name.lower()))


def member_of(answer: Answer, path: str) -> object:
    """The member of JSON at a path such as `items.0.name`."""
    found = answer.document
    for key in re.split(r"[.\[\]]+", path.removeprefix("$").strip(".[]")):
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and key.isdecimal() and len(key) < 9 and int(key) < len(found):
            found = found[int(key)]
        else:
            return NOTHING
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)


def certificate_of(answer: Answer, _key: str) -> object:
    """Seconds that the server's certificate is still good for."""
    facts = answer.last.tls
    return NOTHING if facts is None or facts.not_after is None else facts.not_after - answer.now


def phase(name: str) -> Subject:
    return Subject("seconds", lambda answer, _key: answer.phase(name))


SUBJECTS: dict[str, Subject] = {
    "status": Subject("status", lambda answer, _key: answer.last.status),
    "body": Subject("text", lambda answer, _key: answer.text, needs="body"),
    "json": Subject("text", member_of, keyed=True, needs="body"),
    "header": Subject("text", header_of, keyed=True),
    "address": Subject("text", lambda answer, _key: answer.last.address),
    "tls-version": Subject(
        "text", lambda answer, _key: answer.last.tls.version if answer.last.tls else NOTHING
    ),
    "size": Subject("number", lambda answer, _key: answer.last.size),
    "redirects": Subject("number", lambda answer, _key: len(answer.hops) - 1),
    "dns": phase("dns"),
    "connect": phase("connect"),
    "tls": phase("tls"),
    "ttfb": phase("wait"),
    "transfer": phase("transfer"),
    "service": phase("service"),
    "latency": Subject("seconds", lambda answer, _key: answer.latency / 1e9),
    "total": Subject("seconds", lambda answer, _key: answer.total / 1e9),
    "cert": Subject("seconds", certificate_of, needs="certificate"),
    "min": Subject("seconds", lambda run, _key: or_nothing(run.least), of_run=True),
    "max": Subject("seconds", lambda run, _key: or_nothing(run.most), of_run=True),
    "mean": Subject("seconds", lambda run, _key: or_nothing(run.mean), of_run=True),
    "errors": Subject("percent", lambda run, _key: or_nothing(run.error_share), of_run=True),
    "failed": Subject("number", lambda run, _key: run.failed, of_run=True),
    "rate": Subject("number", lambda run, _key: or_nothing(run.rate), of_run=True),
    "lag": Subject("seconds", lambda run, _key: or_nothing(run.lag), of_run=True),
}
"""Name -> what it is. Percentiles, `p50` to `p99.9999`, are added by their form."""

PERCENTILES = Subject(
    "seconds", lambda run, key: or_nothing(run.percentile(float(key[1:]) / 100)), of_run=True
)


@dataclass(frozen=True, slots=True)
class Assertion:
    """One assertion; parse_assertion makes them.

    Attributes:
        text: as it was written.
        severity: of what it says when it does not hold.
        name: of its subject.
        key: of its subject, such as the name of a header; empty without one.
        holds: whether a value of the subject is as it should be.
    """

    text: str
    severity: Severity
    name: str
    key: str
    holds: Callable[[object], bool]

    @property
    def of_run(self) -> bool:
        """Whether it is about a whole run and not one answer."""
        return self._subject.of_run

    @property
    def needs(self) -> str:
        """What has to be kept of an answer for it: `body`, `certificate`, or nothing."""
        return self._subject.needs

    def judge(self, seen: Answer | RunFigures) -> Verdict:
        """Whether it holds.

        Args:
            seen: the figures of the run when it is `of_run`, else an answer.
        """
        subject = self._subject
        value = subject.read(seen, self.key or self.name)
        if value is not NOTHING and self.holds(value):
            return Verdict(self.text, "ok")
        return Verdict(self.text, self.severity, in_words(subject.kind, value))

    @property
    def _subject(self) -> Subject:
        return SUBJECTS.get(self.name, PERCENTILES)

    def __reduce__(self) -> tuple[Callable[[str, Severity], "Assertion"], tuple[str, Severity]]:
        return parse_assertion, (self.text, self.severity)  # `holds` is a closure


def parse_assertion(text: str, severity: Severity = "fail") -> Assertion:
    """The assertion that a text is.

    Args:
        text: see the module.
        severity: `warn` or `fail`, where it does not hold.

    Raises:
        InvalidAssertion: it is none; the message says why.
    """
    if len(text) > MAX_ASSERTION:
        raise InvalidAssertion(f"an assertion must have at most {MAX_ASSERTION} characters, got {len(text)}")
    match = FORM.fullmatch(text)
    if match is None:
        raise InvalidAssertion(
            f"an assertion must be NAME OPERATOR VALUE such as status==200 or p99<300ms, got {text!r}"
        )
    name, key, sign, value = match.groups(default="")
    subject = SUBJECTS.get(name) or (PERCENTILES if PERCENTILE.fullmatch(name) else None)
    if subject is None:
        raise InvalidAssertion(
            f"{name!r} cannot be asserted: choose of {', '.join(SUBJECTS)}, p50 to p99.9999"
        )
    if subject.keyed != bool(key):
        wants = f"needs a key such as {name}:KEY" if subject.keyed else "takes no key"
        raise InvalidAssertion(f"{name} {wants}, got {text!r}")
    return Assertion(text.strip(), severity, name, key, TESTS[subject.kind](text, sign, unquoted(value)))


def unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def text_test(text: str, sign: str, value: str) -> Callable[[object], bool]:
    if sign in ("~", "!~"):
        try:
            pattern = re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            raise InvalidAssertion(f"{value!r} must be a regular expression: {error}") from None
        return lambda found: (pattern.search(str(found)) is not None) == (sign == "~")
    if sign in ("==", "!="):
        return lambda found: (str(found) == value) == (sign == "==")
    limit, compare = number_of(text, value), COMPARISONS[sign]

    def holds(found: object) -> bool:
        try:
            return compare(float(str(found)), limit)
        except ValueError:  # no number
            return False

    return holds


def status_test(text: str, sign: str, value: str) -> Callable[[object], bool]:
    if sign in ("==", "!="):
        ranges = status_ranges(text, value)
        return lambda found: any(found in statuses for statuses in ranges) == (sign == "==")
    return number_test(text, sign, value)


def status_ranges(text: str, value: str) -> list[range]:
    """The statuses that a list such as `2xx,304,400-403` names."""
    parts = [STATUSES.fullmatch(part.strip()) for part in value.split(",", MAX_STATUSES)]
    ranges = []
    for part in parts:
        if part is None:
            raise InvalidAssertion(f"a status must be such as 200, 2xx, 200-204 or 200,304, got {text!r}")
        if part[1]:
            ranges.append(range(100 * int(part[1]), 100 * int(part[1]) + 100))
        else:
            ranges.append(range(int(part[2]), int(part[3] or part[2]) + 1))
    return ranges


def number_test(text: str, sign: str, value: str) -> Callable[[object], bool]:
    return compared(text, sign, number_of(text, value.removesuffix("/s")))


def seconds_test(text: str, sign: str, value: str) -> Callable[[object], bool]:
    limit = seconds_of(value)
    if limit is None:
        raise InvalidAssertion(f"a duration must have its unit, as 300ms, 1.5s or 14d, got {text!r}")
    return compared(text, sign, limit)


def percent_test(text: str, sign: str, value: str) -> Callable[[object], bool]:
    if not value.endswith("%"):
        raise InvalidAssertion(f"a share must be in percent, as errors<1%, got {text!r}")
    return compared(text, sign, number_of(text, value[:-1]) / 100)


def compared(text: str, sign: str, limit: float) -> Callable[[object], bool]:
    if sign not in COMPARISONS:
        raise InvalidAssertion(f"a number must be compared with ==, !=, <, <=, > or >=, got {text!r}")
    compare = COMPARISONS[sign]
    return lambda found: compare(found, limit)  # type: ignore[arg-type]  # subjects of these kinds are numbers


def number_of(text: str, value: str) -> float:
    if re.fullmatch(r"-?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})", value, re.ASCII):
        return float(value)
    raise InvalidAssertion(f"it must be compared with a number, got {text!r}")


TESTS: dict[Kind, Callable[[str, str, str], Callable[[object], bool]]] = {
    "status": status_test,
    "text": text_test,
    "number": number_test,
    "seconds": seconds_test,
    "percent": percent_test,
}


def in_words(kind: Kind, value: object) -> str:
    """What there was in place of what was asserted."""
    match value:
        case Nothing():
            return "there is none"
        case float() | int() if kind == "seconds":
            return f"got {duration_words(value)}"
        case float() if kind == "percent":
            return f"got {100 * value:.3g} %"
        case float():
            return f"got {value:.4g}"
        case str():
            shown = one_line(value, MAX_SHOWN)
            return f"got {shown}{'…' if len(value) > MAX_SHOWN else ''}"
    return f"got {value}"


def decoded(exchange: Exchange) -> bytes:
    """The body that was kept, without gzip or deflate; as it came where that is not what it says.

    It is cut to a few times the bytes that may be kept at all: a bomb does not go off.
    """
    body, most = exchange.body, max(len(exchange.body), 1 << 20)
    coding = (exchange.header("content-encoding") or "").lower()
    if coding not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        return zlib.decompressobj(wbits=47 if "gzip" in coding else 15).decompress(body, most)
    except zlib.error:
        return body
