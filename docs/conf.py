"""Sphinx settings. Everything comes from this repository; a build asks no other host."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

# The pure-Python twins carry the type annotations; the docstrings are the same in both.
os.environ["PENSTOCK_IMPL"] = "py"

ROOT = Path(__file__).parents[1]

project = "penstock"
author = "The penstock developers"
copyright = author
release = metadata.version("penstock")

extensions = [
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False

plot_basedir = str(Path(__file__).parent)
plot_formats = ["svg"]
plot_include_source = False
plot_html_show_formats = False
plot_html_show_source_link = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"penstock {release}"
html_copy_source = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True


def add_unreleased_changes(_app, docname, source):
    """Puts what `towncrier` would release next at the head of the changelog page."""
    if docname == "reference/changelog":
        draft = subprocess.run(
            [
                sys.executable,
                "-m",
                "towncrier",
                "build",
                "--draft",
                "--version",
                "Next release",
                "--date",
                "not yet out",
            ],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        source[0] = source[0].replace("<!-- unreleased -->", draft.strip())


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", add_unreleased_changes)
