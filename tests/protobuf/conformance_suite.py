"""Runs the official conformance suite on one twin, or on both.

usage: conformance_suite.py [c|py] [RUNNER OPTION ...]      such as: conformance_suite.py c --test NAME
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

DEFAULT = Path(__file__).parents[3] / "shared" / "tools" / "protobuf-conformance"
TESTEE = Path(__file__).parent / "conformance_testee.py"
OPTIONS = ["--enforce_recommended", "--maximum_edition", "2023"]
LONGEST = 600  # seconds; the first run fetches the runner, the others take 10


def program() -> Path:
    """What starts the suite's runner: PENSTOCK_CONFORMANCE, else the one beside the repository."""
    return Path(os.environ.get("PENSTOCK_CONFORMANCE") or DEFAULT)


def run(impl: str, options: list[str]) -> "subprocess.CompletedProcess[str]":
    """The suite's exit status and all that it printed, for the twin `c` or `py`."""
    with tempfile.TemporaryDirectory() as folder:
        protos, testee = Path(folder, "protos"), Path(folder, "testee")
        subprocess.run([program(), "--protos", protos], check=True, timeout=LONGEST)
        command = shlex.join([sys.executable, str(TESTEE), str(protos)])
        testee.write_text(f"#!/bin/sh\nexec {command}\n")  # the runner starts a program without arguments
        testee.chmod(0o755)
        return subprocess.run(
            [program(), *OPTIONS, *options, testee],
            env={**os.environ, "PENSTOCK_IMPL": impl},
            cwd=folder,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=LONGEST,
            check=False,
        )


def main(arguments: list[str]) -> int:
    twins = [arguments.pop(0)] if arguments[:1] in (["c"], ["py"]) else ["c", "py"]
    failed = 0
    for impl in twins:
        print(f"== PENSTOCK_IMPL={impl}", flush=True)
        done = run(impl, arguments)
        print(done.stdout)
        failed = failed or done.returncode
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
