"""Builds the compiled twins: every src/**/_NAME_c.pyx with the kernels csrc/NAME.c that it calls.

All of them or none: when one cannot be built (no compiler, no headers), the install goes on without
any and penstock runs on its pure-Python twins. PENSTOCK_REQUIRE_EXTENSIONS=1 makes that an error.
Everything else about the package stands in pyproject.toml.
"""

import os
import re
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError, CCompilerError

SOURCE = Path("src")
KERNELS = Path("csrc")

COMPILE_FLAGS = [  # gcc and clang: the kernels use __int128
    "-O3",
    "-std=c11",
    "-fvisibility=hidden",
    "-ffp-contract=off",  # a sum of products has the bits that Python computes, on every processor
]
DIRECTIVES = {
    "language_level": 3,
    "binding": False,  # plain C methods: CPython specialises calls to them, 6 to 8 ns a call
    "embedsignature": True,  # ... and inspect.signature still works; a class says its own, in its docstring
    "embedsignature.format": "clinic",
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": True,
}


def kernels(file: Path, found: set[Path] | None = None) -> set[Path]:
    """The kernels that `file` uses: csrc/NAME.c of every NAME.h that it includes, and what those use."""
    found = set() if found is None else found  # files; parts of one kernel may use each other
    included = re.findall(r'^(?:#include|cdef extern from) "(\w+)\.h"', file.read_text(), flags=re.MULTILINE)
    for part in (KERNELS / f"{name}{suffix}" for name in included for suffix in (".h", ".c")):
        if part.exists() and part not in found:
            found.add(part)
            kernels(part, found)
    return {part for part in found if part.suffix == ".c"}


def extension(pyx: Path) -> Extension:
    """The module of one compiled twin, with the kernels that it calls."""
    module = ".".join(pyx.relative_to(SOURCE).with_suffix("").parts)
    sources = [str(pyx), *map(str, sorted(kernels(pyx)))]
    return Extension(
        module,
        sources,
        include_dirs=[str(KERNELS)],
        depends=[str(header) for header in sorted([*KERNELS.glob("*.h"), *pyx.parent.glob("*.h")])],
        extra_compile_args=COMPILE_FLAGS,
    )


class build_all_or_none(build_ext):  # noqa: N801  (setuptools prints the name)
    """Leaves every compiled twin or no compiled twin behind, never a mixture."""

    def run(self) -> None:
        in_place = self.inplace
        try:
            super().run()
        except (BaseError, CCompilerError, OSError) as error:
            if os.environ.get("PENSTOCK_REQUIRE_EXTENSIONS") == "1":
                raise
            self.inplace = in_place  # super().run() clears it and fails before it sets it again
            self.remove_built()
            print(f"penstock: no compiled twins ({error}); it will run on pure Python", file=sys.stderr)

    def remove_built(self) -> None:
        for built in self.extensions:  # of this build, and of an earlier one where it builds in place
            Path(self.build_lib, self.get_ext_filename(built.name)).unlink(missing_ok=True)
            Path(self.get_ext_fullpath(built.name)).unlink(missing_ok=True)
        self.extensions = []


setup(
    ext_modules=cythonize(
        [extension(pyx) for pyx in sorted(SOURCE.glob("penstock/**/_*_c.pyx"))],
        compiler_directives=DIRECTIVES,
    ),
    cmdclass={"build_ext": build_all_or_none},
)
