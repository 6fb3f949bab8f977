"""`penstock search build`: indexes the texts of a folder or a JSONL file."""

import math
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text as StyledText

from penstock.cli.program import INTERRUPTED, program
from penstock.cli.results import cannot_go_on
from penstock.cli.search_documents import Document, Reading
from penstock.cli.search_texts import Writing, path_of_texts, written_texts
from penstock.errors import PenstockError
from penstock.services.printable import printable

if TYPE_CHECKING:
    from penstock.search import Analyzer, InvertedIndex

__all__ = ["command"]

ANALYZERS = ("unicode", "ascii", "english", "reference", "keyword")
FIELDS = ("title", "text")
MAX_STOP_WORDS = 1 << 20  # characters of a file of them
MAX_BOOST = 1e6
SHOW_EVERY = 64  # documents between two movements of the bar


def boosts(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Names of fields, with or without a boost."""
    found: dict[str, float] = {}
    for value in values:
        name, sign, number = value.partition("=")
        try:
            boost = float(number) if sign else 1.0
        except ValueError:
            boost = math.nan
        if not name or not 0 < boost <= MAX_BOOST:
            raise click.BadParameter(f"{value!r} is not of the form NAME or NAME=BOOST, such as title=2")
        if name in found:
            raise click.BadParameter(f"{name!r} was given twice")
        found[name] = boost
    return found


EXAMPLES = """\b
Examples:
  penstock search build docs --out docs.idx
  penstock search build corpus.jsonl.xz --out corpus.idx --analyzer english
  penstock search build mails.jsonl --out mails.idx --id-field number \\
      --field subject=2 --field body --positions
  zcat dump.jsonl.gz | penstock search build - --out dump.idx
"""


@click.command("build", short_help="Index a folder, or a JSONL file.", epilog=EXAMPLES, no_args_is_help=True)
@click.argument(
    "source",
    type=click.Path(exists=True, readable=True, allow_dash=True, path_type=Path),
    metavar="DIR_OR_JSONL",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    metavar="IDX",
    help="Write the index to this file; an old one is replaced when the new one is whole.",
)
@click.option(
    "--analyzer",
    type=click.Choice(ANALYZERS),
    default="unicode",
    show_default=True,
    help="How texts are taken apart: words of any language, words of a-z and 0-9, English words without "
    "their endings, ASCII words longer than two characters, or the whole text as one word.",
)
@click.option(
    "--stemmer",
    metavar="LANGUAGE",
    help="Cut the endings off: english, german, ...; needs the extra `search`.",
)
@click.option(
    "--stop-words",
    metavar="LIST",
    help="Leave words out: english, or a file with a word a line.",
)
@click.option("--id-field", metavar="NAME", help="Name of the id in JSONL.  [default: _id, else id]")
@click.option(
    "--text-field",
    "text_fields",
    multiple=True,
    metavar="NAME",
    help="Index this field of JSONL, together with others given so.  [default: title and text]",
)
@click.option(
    "--field",
    "fields",
    multiple=True,
    callback=boosts,
    metavar="NAME[=BOOST]",
    help="Index this field as one of its own, which a query can name, and which weighs so much; may be given "
    "again.",
)
@click.option("--positions", is_flag=True, help="Keep the places of words, which phrases need.")
@click.option("--no-texts", is_flag=True, help="Do not keep the texts beside the index; hits show ids only.")
def command(
    source: Path,
    out: Path,
    analyzer: str,
    stemmer: str | None,
    stop_words: str | None,
    id_field: str | None,
    text_fields: tuple[str, ...],
    fields: dict[str, float],
    positions: bool,
    no_texts: bool,
) -> None:
    """Index a folder of text files, or a file of JSON objects, one a line.

    In a folder every text (.txt, .md, .rst, .log ...) is a document whose id is its path and whose title is
    its first line; .jsonl files in it are read line by line. All may be packed (.gz, .xz, .bz2), and - is
    standard input. What cannot be indexed is left out and counted.

    Exit status: 0 all indexed, 1 something left out or nothing found, 2 wrong usage.
    """
    from penstock.search import InvertedIndex, Text

    if fields and text_fields:
        raise click.UsageError("--text-field joins fields and --field keeps them apart; give one of both")
    refuse_to_overwrite(source, out)
    names = list(fields) or list(text_fields) or list(FIELDS)
    texts = path_of_texts(out)
    try:
        index = InvertedIndex(
            {name: Text(boost=boost) for name, boost in fields.items()} or None,
            analyzer=made_analyzer(analyzer, stemmer, stop_words),
            positions=positions,
        )
    except (PenstockError, ImportError) as error:
        raise click.UsageError(printable(str(error))) from error
    reading = Reading(source, [out, texts], id_field, names)
    began = time.perf_counter()
    try:
        with nullcontext() if no_texts else written_texts(texts) as writing:
            fill(index, reading, fields, writing)
            require_documents(index, reading, names)
            index.save(out)
            if writing is None:
                texts.unlink(missing_ok=True)  # of the index that was there before
            else:
                writing.finish(out)
    except KeyboardInterrupt:
        click.echo("Interrupted: an old index stays unless the new one was whole already.", err=True)
        sys.exit(INTERRUPTED)
    except OSError as error:
        raise cannot_go_on(printable(f"{error.filename or out}: {error.strerror or error}")) from None
    finally:
        reading.meter.close()
    show(index, reading, out, None if no_texts else texts, time.perf_counter() - began)
    sys.exit(1 if reading.left_out or reading.damaged else 0)


def refuse_to_overwrite(source: Path, out: Path) -> None:
    if out.exists() and source.exists() and out.samefile(source):
        raise click.UsageError(f"--out must not be what is read, got {out} for both")
    if not could_be_index(out):
        raise click.UsageError(
            f"--out must be new or an index, which {out} is not; take another name or remove it"
        )
    if not out.absolute().parent.is_dir():
        raise click.UsageError(f"--out must be in a folder that exists, got {out}; make {out.parent} first")


def could_be_index(out: Path) -> bool:
    """Whether nothing else would be lost if the file were replaced."""
    from penstock.search.index_file import MAGIC

    if not out.is_file():
        return True
    try:
        with out.open("rb") as file:
            return file.read(len(MAGIC)) in (b"", MAGIC)
    except OSError:
        return False


def made_analyzer(name: str, stemmer: str | None, stop_words: str | None) -> "Analyzer":
    from penstock.search import Analyzer

    if name == "english":
        if stemmer or stop_words:
            raise click.UsageError(
                "--analyzer english has a stemmer and stop words of its own; take another one"
            )
        return Analyzer.english()
    return Analyzer(name, stemmer=stemmer, stop_words=listed(stop_words))


def listed(stop_words: str | None) -> str | list[str] | None:
    """The name of a list, or the words of a file."""
    if stop_words is None or stop_words == "english":
        return stop_words
    try:
        with open(stop_words, encoding="utf-8") as file:
            words = file.read(MAX_STOP_WORDS + 1)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise click.BadParameter(
            f"{stop_words!r} is neither english nor a file that can be read: {reason}",
            param_hint="--stop-words",
        ) from None
    if len(words) > MAX_STOP_WORDS:
        raise click.BadParameter(
            f"{stop_words!r} must have at most {MAX_STOP_WORDS:,} characters", param_hint="--stop-words"
        )
    return words.split()


# ---- the work


def fill(index: "InvertedIndex", reading: Reading, apart: Iterable[str], writing: Writing | None) -> None:
    """Indexes what there is to read."""
    with progress_bar() as bar:
        for place, document in watched(bar, reading):
            try:
                index.add(document.id, content(apart, document))
            except PenstockError as error:
                reading.read -= 1
                reading.leave_out(place, reason(document, error))
            else:
                if writing is not None:
                    writing.add(document)


def content(apart: Iterable[str], document: Document) -> str | dict[str, str]:
    """One text, or one for each field that is kept apart."""
    return {name: document.texts.get(name, "") for name in apart} or "\n".join(document.texts.values())


def reason(document: Document, error: PenstockError) -> str:
    """The same words for all that are refused for the same reason, so that they can be counted."""
    from penstock.search import DuplicateDocument

    if isinstance(error, DuplicateDocument):
        return "its id is there already"
    return printable(str(error).replace(repr(document.id), "its id"))


def progress_bar() -> Progress:
    """A bar on standard error, if that is a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )


def watched(bar: Progress, reading: Reading) -> Iterator[tuple[str, Document]]:
    """The documents; they move the bar to the bytes read so far."""
    task = bar.add_task("starting", total=reading.size or None)
    for number, each in enumerate(reading.documents()):
        if number % SHOW_EVERY == 0:
            bar.update(task, completed=reading.meter.bytes_read, description=f"{reading.read:,} documents")
        yield each


def require_documents(index: "InvertedIndex", reading: Reading, names: list[str]) -> None:
    """Raises if there is nothing to be written, with what may be wrong."""
    if len(index):
        return
    complain(reading)
    if not reading.files:
        kinds = f" (passed over: {counts(reading.kinds)})" if reading.kinds else ""
        raise click.ClickException(f"no text or JSONL file is in the folder{kinds}; nothing was written")
    raise click.ClickException(
        f"no document could be indexed, so nothing was written; JSONL has a JSON object a line, with an id "
        f"(--id-field) and {' or '.join(map(printable, names))} (--text-field); a file "
        f"of any other kind is read as part of its folder"
    )


def complain(reading: Reading) -> None:
    """Says what was left out."""
    for example in reading.examples:
        click.echo(f"Left out: {example}", err=True)
    if (more := reading.left_out.total() - len(reading.examples)) > 0:
        click.echo(f"Left out: {more:,} more", err=True)
    for damage in reading.damaged:
        click.echo(f"Error: {printable(damage)}", err=True)


def show(index: "InvertedIndex", reading: Reading, out: Path, texts: Path | None, seconds: float) -> None:
    """Prints what came of it."""
    complain(reading)
    table = Table(box=box.SIMPLE_HEAD, show_header=False, title=StyledText("Indexed"), title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    table.add_row("documents", f"{len(index):,}")
    if reading.left_out:
        table.add_row("left out", f"{reading.left_out.total():,}", StyledText(counts(reading.left_out)))
    if reading.kinds:
        table.add_row("other files", f"{reading.kinds.total():,}", StyledText(counts(reading.kinds)))
    if reading.garbled:
        table.add_row("not UTF-8", f"{reading.garbled:,}", "indexed, but what is no UTF-8 in them is lost")
    table.add_row("index", size_of(out), StyledText(printable(str(out))))
    if texts is not None:
        table.add_row("texts", size_of(texts), StyledText(printable(str(texts))))
    table.add_row("seconds", f"{seconds:,.2f}")
    table.add_row("documents/s", f"{len(index) / max(seconds, 1e-9):,.0f}")
    Console(width=80).print(table)
    click.echo(f'Search it: {program()} search query {shlex.quote(printable(str(out)))} "..."', err=True)


def counts(found: "dict[str, int]") -> str:
    most = sorted(found.items(), key=lambda item: -item[1])[:5]
    return ", ".join(f"{count:,} {name}" for name, count in most)


def size_of(path: Path) -> str:
    return decimal(path.stat().st_size)
