"""The `penstock` command, which is `python -m penstock` too."""

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line; Ctrl-C ends it quietly also while it is still being imported."""
    try:
        from penstock.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.exit(130)  # INTERRUPTED of penstock.cli.program, which may be what was being imported
    finally:
        drop_what_cannot_be_written()


def drop_what_cannot_be_written() -> None:
    """Keeps Python from trying once more at its end what failed and was told, and ending with 120 then."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):  # full, gone, or closed
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


if __name__ == "__main__":
    main()
