"""The `penstock` command, which is `python -m penstock` too."""

import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line; Ctrl-C ends it quietly also while it is still being imported."""
    try:
        from penstock.cli import main as command_line

        command_line()
    except KeyboardInterrupt:
        sys.exit(130)  # INTERRUPTED of penstock.cli.program, which may be what was being imported


if __name__ == "__main__":
    main()
