"""Runs a command on a terminal of 80 columns, as people see it."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import termios


async def on_terminal(start, *arguments, **streams):
    """What a run draws.

    Args:
        start: starts a process with these arguments and streams.
        arguments: of the command.
        streams: other than the terminal, by name.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "CI")
    }
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs} | streams
    process = await start(*arguments, **streams, env=environment | {"TERM": "xterm"})
    os.close(theirs)
    shown = bytearray()
    loop, end = asyncio.get_running_loop(), asyncio.Event()

    def read():
        try:
            chunk = os.read(ours, 65_536)
        except OSError:  # EIO: the other side has closed
            chunk = b""
        shown.extend(chunk)
        if not chunk:
            loop.remove_reader(ours)
            end.set()

    loop.add_reader(ours, read)
    await asyncio.wait_for(end.wait(), 60)
    os.close(ours)
    await process.wait()
    return shown.decode()


def drawn_lines(shown):
    """Every line that was ever on the screen, without colours."""
    return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", shown)]
