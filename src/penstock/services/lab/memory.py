"""How much memory this process has had, and how many files it may open."""

import sys
from pathlib import Path

__all__ = ["allow_most_files", "peak_rss"]

STATUS = Path("/proc/self/status")


def peak_rss() -> int:
    """The most memory that this process has held so far, bytes; 0 where the system does not tell."""
    if sys.platform == "linux":
        # getrusage would count the parent in: a fork begins with its peak
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def allow_most_files() -> None:
    """Raises the soft limit of open files to the hard one; each connection is a file."""
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS tells "unlimited" and does not take it
            return
