"""What the commands share that make many requests: result files, live screen, how a run ends."""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

import click

from penstock.cli.program import INTERRUPTED
from penstock.services.outcomes import Outcomes
from penstock.services.row_files import CsvRows, JsonRows

if TYPE_CHECKING:  # it brings rich, and not every command draws
    from penstock.services.live_screen import LiveScreen

__all__ = [
    "cannot_go_on",
    "drawn",
    "exit_by",
    "is_regular",
    "kept_fresh",
    "opened",
    "ran_to_its_end",
    "refuse_file_named_twice",
    "results_options",
    "sinks_of",
]

MAX_NAME_LOOKUPS = 64

EXIT_FAILED = 1

Result = TypeVar("Result")


class CannotGoOn(click.ClickException):
    """Says why on stderr and exits with 2; click's, so it is not offered as an error of penstock."""

    exit_code = 2


def cannot_go_on(why: str) -> CannotGoOn:
    """The error that ends a command whose files are at fault."""
    return CannotGoOn(why)


def results_options(row_of: str) -> Callable[[Any], Any]:
    """The options --csv and --json of a command that writes a row for each URL, or request."""
    file = click.Path(dir_okay=False)
    as_csv = click.option("--csv", "csv_path", type=file, metavar="F", help=f"Write a CSV row per {row_of}.")
    as_json = click.option(
        "--json", "json_path", type=file, metavar="F", help=f"Write a JSON object per {row_of}."
    )
    return lambda command: as_csv(as_json(command))


def refuse_file_named_twice(names: str, *paths: str | None) -> None:
    """Refuses to write over what is read, or two files into one.

    Args:
        names: of the options, for the person.
        paths: of their values.
    """
    named = [os.path.realpath(path) for path in paths if path is not None]
    if len(set(named)) < len(named):
        raise click.UsageError(f"{names} name one file twice; give each its own.")


def sinks_of(
    files: ExitStack, *reports: tuple[Callable[[str], CsvRows[Result] | JsonRows[Result]], str | None]
) -> list[Callable[[Result], None]]:
    """What writes the files that the options name, opened on the stack."""
    sinks: list[Callable[[Result], None]] = []
    for report, path in reports:
        if path is not None:
            rows = report(path)
            files.enter_context(rows)
            sinks.append(rows.write)
    return sinks


def opened(files: ExitStack, path: str) -> int:
    """The descriptor of a file that is open for reading until the stack ends; of standard input for `-`.

    Raises:
        ClickException: standard input is closed.
        OSError: the file cannot be opened.
    """
    if path == "-" and sys.stdin is None:
        raise cannot_go_on("standard input is closed.")
    return files.enter_context(click.open_file(path, "rb")).fileno()


def is_regular(path: str) -> bool:
    """Whether a file can be read twice; `-` cannot."""
    return path != "-" and stat.S_ISREG(os.stat(path).st_mode)


def ran_to_its_end(work: Callable[[ExitStack], Coroutine[Any, Any, None]]) -> bool:
    """Runs `work`, which opens its files on the stack, in an event loop; False when Ctrl-C ended it.

    Raises:
        ClickException: a file cannot be opened, read or written.
    """
    try:
        with ExitStack() as files:
            asyncio.run(work(files))
    except KeyboardInterrupt:
        return False
    except BrokenPipeError:
        raise  # whoever read our output has gone; click ends quietly
    except OSError as error:
        raise cannot_go_on(f"{error.filename or 'a results file'}: {error.strerror}") from None
    return True


@asynccontextmanager
async def drawn(screen: "LiveScreen", concurrency: int) -> AsyncGenerator[None, None]:
    """Keeps the screen fresh, and has threads for so many name lookups."""
    # The default pool has a thread or two a core, and each name that does not resolve holds one for seconds.
    lookups = ThreadPoolExecutor(min(concurrency, MAX_NAME_LOOKUPS), thread_name_prefix="lookup")
    asyncio.get_running_loop().set_default_executor(lookups)
    async with kept_fresh(screen):
        yield


class Drawn(Protocol):
    """What is drawn on again and again."""

    async def keep_fresh(self) -> None: ...


@asynccontextmanager
async def kept_fresh(screen: Drawn) -> AsyncGenerator[None, None]:
    """Keeps the screen fresh."""
    drawing = asyncio.create_task(screen.keep_fresh())
    try:
        yield
    finally:
        drawing.cancel()
        with suppress(asyncio.CancelledError):
            await drawing


def exit_by(outcomes: Outcomes, *, interrupted: bool) -> NoReturn:
    """Ends the command: 130 after Ctrl-C, 1 when something failed, else 0."""
    sys.exit(INTERRUPTED if interrupted else EXIT_FAILED if outcomes.failed else 0)
