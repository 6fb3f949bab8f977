"""The page: one document, joined from the files beside this one.

A browser gets style and script with the document itself, in one request that needs no key, and the
document's policy names their hashes: nothing else can run in it. The script is written as modules, one a
subject; joined, they are one module, so that what they import from each other is there without asking.
"""

import re
from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

__all__ = ["PAGE"]

SCRIPTS = (
    "text.js", "document.js", "asking.js", "questions.js", "theme.js", "polling.js", "rates.js", "chart.js",
    "service.js", "shares.js", "control.js", "adding.js", "analyzers.js", "inputs.js", "story.js",
    "replaying.js", "letters.js", "events.js", "tail.js", "main.js",
)  # fmt: skip
"""A module stands behind those that it imports."""
IMPORT_OR_EXPORT = re.compile(r"^(import [^;]*;\n|export )", re.MULTILINE)


def document() -> str:
    """The whole of it."""
    style = read("page.css")
    script = "".join(IMPORT_OR_EXPORT.sub("", read(name)) for name in SCRIPTS)
    parts = {"STYLE-HASH": hash_of(style), "SCRIPT-HASH": hash_of(script), "STYLE": style, "SCRIPT": script}
    return re.sub(r"\{\{([A-Z-]+)\}\}", lambda place: parts[place[1]], read("page.html"))


def read(name: str) -> str:
    """The text of a file of this package."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")


def hash_of(text: str) -> str:
    """As a Content-Security-Policy names a text that may run."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


PAGE = document().encode()
"""In UTF-8."""
