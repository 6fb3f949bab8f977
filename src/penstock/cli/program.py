"""What the command says of itself: which one it is, and how it is called."""

import os
import shlex
import sys

import penstock

__all__ = ["DISTRIBUTOR_URL", "INTERRUPTED", "name_and_version", "program"]

DISTRIBUTOR_URL = "http://127.0.0.1:8080"
"""Where `distribute` serves and `replay` sends to, unless told otherwise."""

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the number of SIGINT."""

TWINS = {"c": "compiled", "py": "pure Python: none were compiled, or PENSTOCK_IMPL=py"}


def name_and_version() -> str:
    """Version, and which twins run."""
    return f"penstock {penstock.__version__}, hot paths {TWINS[penstock.implementation]}"


def program() -> str:
    """The command as this user can type it: `penstock`, or with the folder that is not on the PATH."""
    called = sys.argv[0]
    if called.endswith(".py"):  # python -m penstock
        return "python -m penstock"
    import shutil  # which brings three kinds of compression

    found = shutil.which("penstock")
    if found is not None and os.path.realpath(found) == os.path.realpath(called):
        return "penstock"
    return shlex.quote(called)
