"""`penstock search query`: the best documents of an index for a query."""

import json
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

from penstock.cli.program import program
from penstock.cli.results import cannot_go_on
from penstock.cli.search_texts import Shown, Texts, TextsUnusable
from penstock.errors import PenstockError
from penstock.services.printable import one_line, printable

if TYPE_CHECKING:
    from penstock.search import InvertedIndex, Query

__all__ = ["command"]

MAX_K = 10_000
FRAGMENT = 220  # characters of a text that are shown, about three lines
BEFORE, AFTER = "\x02", "\x03"  # no text that is shown has them
WIDTH, INDENT = 80, 4
NO_PHRASES = "words in quotes cannot be found one after the other; build the index again with --positions"


def mode_of(text: str) -> str | int:
    """`or`, `and`, or how many of the words a document needs."""
    if text in ("or", "and"):
        return text
    if text.isascii() and text.isdecimal() and 1 <= int(text[:5]) <= 1_024 and len(text) < 5:
        return int(text)
    raise click.BadParameter(f"{text!r} is neither or, nor and, nor a number of words from 1 to 1024")


class Loaded(NamedTuple):
    """What an index is on disk."""

    size_bytes: int
    load_ms: float


class Answer(NamedTuple):
    """What was found, and what that took."""

    hits: list[tuple[str, float]]
    matching: int
    documents: int
    query_us: float
    loaded: Loaded


EXAMPLES = """\b
Examples:
  penstock search query docs.idx token bucket
  penstock search query docs.idx "rate limiting redis" --mode and -k 3
  penstock search query docs.idx '+cache -redis evict*' --strict
  penstock search query docs.idx "consistent hashing" --json

\b
A query may have:
  word  "some words"  +must  -mustnot  begin*  similar~  field:word  (a OR b)
"Some words" in just that order need an index built with --positions.
A query that begins with - goes behind -- :  docs.idx -- '-redis cache'
"""


@click.command(
    "query", short_help="Find the best documents for a query.", epilog=EXAMPLES, no_args_is_help=True
)
@click.argument("idx", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("words", nargs=-1, required=True, metavar="QUERY...")
@click.option(
    "-k",
    "--k",
    type=click.IntRange(0, MAX_K),
    default=10,
    show_default=True,
    metavar="N",
    help="Show so many documents, the best first.",
)
@click.option(
    "--mode",
    type=mode_of,
    metavar="or|and|N",
    help="Take QUERY as words without syntax, of which a document needs one, all, or so many.",
)
@click.option(
    "--strict", is_flag=True, help="Refuse a query with mistakes, instead of making the best of it."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--no-texts", is_flag=True, help="Show ids and scores only.")
def command(
    idx: Path,
    words: tuple[str, ...],
    k: int,
    mode: str | int | None,
    strict: bool,
    as_json: bool,
    no_texts: bool,
) -> None:
    """Find the best documents of the index IDX, which `penstock search build` has made.

    Exit status: 0 something was found, 1 nothing was, 2 wrong usage or an index that cannot be read.
    """
    if strict and mode is not None:
        raise click.UsageError(
            "--strict is about the syntax of a query, and --mode does without; give one of both"
        )
    query = " ".join(words)
    index, load_ms = loaded(idx)
    asked: Query | str = query
    if mode is None:
        asked = parsed(index, query, strict)
        tell_of_phrases(index, query, strict)
    answer = answered(index, asked, k, mode or "or", Loaded(idx.stat().st_size, load_ms))
    with closing_texts(None if no_texts else texts_of(idx)) as texts:
        found = list(shown_hits(index, asked, answer, texts))
    if as_json:
        click.echo(json.dumps(as_object(query, answer, found), ensure_ascii=False))
    else:
        print_answer(answer, found)
    if not answer.hits and k:
        raise click.exceptions.Exit(1)


def loaded(idx: Path) -> "tuple[InvertedIndex, float]":
    """The index, and the milliseconds that loading it took."""
    from penstock.search import IndexFileError, InvertedIndex

    name = printable(str(idx))
    try:
        began = time.perf_counter()
        index = InvertedIndex.load(idx)
        return index, (time.perf_counter() - began) * 1_000
    except FileNotFoundError:
        how = f"{program()} search build DIR_OR_JSONL --out {shlex.quote(name)}"
        raise cannot_go_on(f"{name} does not exist; make it with `{how}`") from None
    except IndexFileError as error:
        raise cannot_go_on(f"{printable(str(error))}; build it again") from None
    except ImportError as error:  # the stemmer of the index is not installed
        raise cannot_go_on(printable(str(error))) from None
    except OSError as error:
        raise cannot_go_on(f"{name}: {error.strerror or error}") from None


def parsed(index: "InvertedIndex", query: str, strict: bool) -> "Query":
    try:
        return index.parse(query, strict=strict)
    except PenstockError as error:  # its message shows the place
        raise click.UsageError(shown_lines(str(error))) from None


def tell_of_phrases(index: "InvertedIndex", query: str, strict: bool) -> None:
    """Says what becomes of words in quotes when the index does not know their places."""
    if index.positions or all(len(quoted.split()) < 2 for quoted in query.split('"')[1::2]):
        return
    if strict:
        raise click.UsageError(f"{NO_PHRASES}, or leave --strict out to find them in any order")
    click.echo(f"Note: {NO_PHRASES}; here they were found in any order", err=True)


def shown_lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def answered(index: "InvertedIndex", asked: "Query | str", k: int, mode: str | int, loaded: Loaded) -> Answer:
    """What the index finds.

    Raises:
        ClickException: it cannot be asked so, such as for a phrase when it has no positions.
    """
    try:
        began = time.perf_counter()
        hits = index.search(asked, k, mode=mode)
        query_us = (time.perf_counter() - began) * 1e6
        matching = len(hits) if len(hits) < k else index.count(asked, mode=mode)
    except PenstockError as error:
        raise cannot_go_on(shown_lines(str(error))) from None
    found = [(str(hit.doc_id), float(hit.score)) for hit in hits]
    return Answer(found, matching, len(index), query_us, loaded)


@contextmanager
def closing_texts(texts: Texts | None) -> Iterator[Texts | None]:
    try:
        yield texts
    finally:
        if texts is not None:
            texts.close()


def texts_of(idx: Path) -> Texts | None:
    try:
        return Texts(idx)
    except TextsUnusable as error:
        click.echo(f"Note: {printable(str(error))}", err=True)
        return None


# ---- what is shown


class Found(NamedTuple):
    """A hit, with marks round the words of the query; title and fragment are empty if there is no text."""

    doc_id: str
    score: float
    title: str
    fragment: str


def shown_hits(
    index: "InvertedIndex", asked: "Query | str", answer: Answer, texts: Texts | None
) -> Iterator[Found]:
    for doc_id, score in answer.hits:
        shown = Shown("", "")
        if texts is not None:
            try:
                shown = texts.of(doc_id)
            except TextsUnusable as error:
                click.echo(f"Note: {printable(str(error))}", err=True)
                texts = None
        yield Found(doc_id, score, marked(index, asked, shown.title), marked(index, asked, shown.text))


def marked(index: "InvertedIndex", asked: "Query | str", text: str) -> str:
    """The part of a text that has most of the words, on one line."""
    plain = one_line(text, len(text))
    if not plain:
        return ""
    return index.highlight(asked, plain, before=BEFORE, after=AFTER, fragment=FRAGMENT)


def as_object(query: str, answer: Answer, found: list[Found]) -> dict[str, Any]:
    return {
        "query": query.encode("utf-8", "replace").decode(),
        "documents": answer.documents,
        "matching": answer.matching,
        "index_bytes": answer.loaded.size_bytes,
        "load_ms": round(answer.loaded.load_ms, 3),
        "query_us": round(answer.query_us, 1),
        "hits": [
            {
                "rank": rank,
                "id": each.doc_id,
                "score": each.score,
                "title": unmarked(each.title),
                "fragment": each.fragment.replace(BEFORE, "<mark>").replace(AFTER, "</mark>"),
            }
            for rank, each in enumerate(found, 1)
        ],
    }


def print_answer(answer: Answer, found: list[Found]) -> None:
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH)
    width = len(str(len(found)))
    for rank, each in enumerate(found, 1):
        head = Text()
        head.append(f"{rank:>{width}}  ", "dim")
        head.append(f"{each.score:8.3f}  ", "cyan")
        head.append(printable(each.doc_id), "bold")
        console.print(head, overflow="fold")
        for text in filter(None, (each.title, each.fragment)):
            print_wrapped(console, styled(text), INDENT)
    print_wrapped(console, Text(footer(answer, len(found)), "dim"), 0)


def print_wrapped(console: Console, text: Text, indent: int) -> None:
    """Prints lines without white space at their ends."""
    for line in text.wrap(console, max(console.width - indent, 1)):
        line.rstrip()
        console.print(Text(" " * indent).append_text(line))


def styled(text: str) -> Text:
    """Marked words bold and in colour."""
    made = Text()
    for index, part in enumerate(text.split(BEFORE)):
        word, _, rest = part.partition(AFTER) if index else ("", "", part)
        made.append(word, "bold yellow")
        made.append(rest)
    return made


def unmarked(text: str) -> str:
    return text.replace(BEFORE, "").replace(AFTER, "")


def footer(answer: Answer, shown: int) -> str:
    matching = f"{answer.matching:,} matching document{'s' if answer.matching != 1 else ''}"
    return (
        f"{shown:,} of {matching}, found in {answer.query_us:,.0f} us; "
        f"index: {answer.documents:,} documents, {decimal(answer.loaded.size_bytes)}, "
        f"loaded in {answer.loaded.load_ms:,.1f} ms"
    )
