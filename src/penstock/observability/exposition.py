"""Figures for Prometheus: the text format that it reads, from an HTTP answer or a file."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from math import inf, isinf, isnan
from pathlib import Path
from typing import Literal

from penstock.errors import InvalidValue
from penstock.observability.histogram import Histogram

__all__ = ["CONTENT_TYPE", "Exposition", "check_can_be_put"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text, for an HTTP answer."""

Labels = Mapping[str, str]

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
LABEL = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


class Exposition:
    r"""The families of one scrape, in the order in which they were added.

    ::

        figures = Exposition()
        figures.counter("pings_total", "Pings made.", [({"target": "shop"}, 17)])
        assert str(figures).endswith('pings_total{target="shop"} 17\n')

    Labels may hold any text; it is escaped.

    Raises:
        ValueError: a name is none that Prometheus takes, or was used before.

    Source: Prometheus, Exposition formats, text format 0.0.4.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._names: set[str] = set()

    def gauge(self, name: str, help: str, samples: Iterable[tuple[Labels, float]]) -> None:  # noqa: A002
        """Adds figures that go up and down, a sample for each set of labels."""
        self._family(name, "gauge", help)
        self._lines += (sample(name, labels, value) for labels, value in samples)

    def counter(self, name: str, help: str, samples: Iterable[tuple[Labels, float]]) -> None:  # noqa: A002
        """Adds figures that only go up; their name should end in `_total`."""
        self._family(name, "counter", help)
        self._lines += (sample(name, labels, value) for labels, value in samples)

    def histogram(
        self,
        name: str,
        help: str,  # noqa: A002 - the format's own word
        samples: Iterable[tuple[Labels, Histogram]],
        *,
        bounds: Sequence[float],
        unit: float = 1e9,
    ) -> None:
        """Adds how values are spread, as cumulative buckets.

        A value counts where its histogram files it: with three digits, one within a thousandth of a
        bound may count in the bucket beside.

        Args:
            name: of the family.
            help: what it is, in a sentence.
            samples: labels and values.
            bounds: upper ends of the buckets, in ascending order, in the unit that is shown.
            unit: how many of the histogram's units make one that is shown; nanoseconds become seconds.
        """
        self._family(name, "histogram", help)
        for labels, values in samples:
            self._buckets(name, labels, values, [*bounds, inf], unit)
            self._lines.append(sample(f"{name}_sum", labels, (values.mean or 0.0) * values.count / unit))
            self._lines.append(sample(f"{name}_count", labels, values.count))

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def write(self, path: str | Path) -> None:
        """Puts the text into a file at once, so that node_exporter's textfile collector sees no half of it.

        A link leads to the file that is meant. A pipe or a device is written to: it cannot be replaced.

        Raises:
            OSError: the file cannot be written; what was there stays.
        """
        text = str(self).encode()
        if is_special(path):
            Path(path).write_bytes(text)
        else:
            replace_file(os.path.realpath(path), text)

    def _family(self, name: str, kind: Literal["gauge", "counter", "histogram"], words: str) -> None:
        if not NAME.fullmatch(name):
            raise InvalidValue(f"a metric's name must be letters, digits, _ and :, got {name!r}")
        if name in self._names:
            raise InvalidValue(f"a metric must be added once, got {name!r} again")
        self._names.add(name)
        escaped = words.replace("\\", r"\\").replace("\n", r"\n")
        self._lines += [f"# HELP {name} {escaped}", f"# TYPE {name} {kind}"]

    def _buckets(
        self, name: str, labels: Labels, values: Histogram, bounds: Sequence[float], unit: float
    ) -> None:
        buckets, below = iter(values), 0
        bucket = next(buckets, None)
        for bound in bounds:
            while bucket is not None and bucket.lowest <= bound * unit:
                below += bucket.n
                bucket = next(buckets, None)
            self._lines.append(sample(f"{name}_bucket", {**labels, "le": figure(bound)}, below))


def check_can_be_put(path: str | Path) -> None:
    """Tells beforehand whether Exposition.write could put a file there; leaves nothing behind.

    Raises:
        OSError: it could not, with that path.
    """
    if is_special(path):
        return
    from tempfile import TemporaryFile

    try:
        TemporaryFile(dir=os.path.dirname(os.path.realpath(path))).close()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def is_special(path: str | Path) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)


def replace_file(path: str, content: bytes) -> None:
    from tempfile import NamedTemporaryFile  # slow to import, and few write files

    folder, name = os.path.split(path)
    with NamedTemporaryFile(dir=folder, prefix=f".{name}.", delete=False) as file:
        try:
            file.write(content)
            file.close()  # not every system renames what is open
            os.chmod(file.name, 0o644)  # another user's collector reads it
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise


def sample(name: str, labels: Labels, value: float) -> str:
    for label in labels:
        if not LABEL.fullmatch(label):
            raise InvalidValue(f"a label's name must be letters, digits and _, got {label!r}")
    inside = ",".join(f'{label}="{escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {figure(value)}" if inside else f"{name} {figure(value)}"


def escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def figure(value: float) -> str:
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(float(value))
