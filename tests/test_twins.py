"""The twins of every hot path look the same, and the switch between them chooses rightly."""

import inspect
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path

import pytest

import penstock
from twins import HOT_PATHS, load

SOURCE = Path(__file__).parents[1] / "src"
EXT_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")


def public_module(pyx):
    room = ".".join(pyx.parent.relative_to(SOURCE).parts)
    return f"{room}.{pyx.stem.removeprefix('_').removesuffix('_c')}"


def twin_modules(module):
    room, _, name = module.rpartition(".")
    return tuple(import_module(f"{room}._{name}_{impl}") for impl in ("c", "py"))


def public_members(cls):
    return {name: getattr(cls, name) for name in dir(cls) if not name.startswith("_")}


def parameters(function):
    """Names, kinds and defaults; annotations belong to the stub, which stubtest holds to the module."""
    found = inspect.signature(function).parameters.values()
    return [(each.name, each.kind, each.default) for each in found if each.name != "self"]


def constructor(module, name):
    """A function with the arguments of the compiled __init__, which only its source can tell."""
    compiled, plain = twin_modules(module)
    source = Path(compiled.__file__).parent / f"{compiled.__name__.rpartition('.')[2]}.pyx"
    found = re.search(
        rf"^cdef class _?{name}\b(?:\((\w+)\))?(.*?)(?=^cdef class |\Z)",
        source.read_text(),
        flags=re.DOTALL | re.MULTILINE,
    )
    base, body = found.groups()
    declared = re.search(r"^    def __init__\((.*?)\):", body, flags=re.DOTALL | re.MULTILINE)
    if declared is None:
        return constructor(module, base) if base else object.__init__
    untyped = re.sub(r"\w+ +(?=\w+ *(?:[,=]|$))", "", declared.group(1).replace(" not None", ""))
    namespace = dict(vars(plain))
    exec(f"def __init__({untyped}): ...", namespace)
    return namespace["__init__"]


def special_methods(cls):
    """What len(), in, [], with, iteration and the like find."""
    found = {name for name in dir(cls) if name.startswith("__") and callable(getattr(cls, name))}
    return found - set(dir(object)) - {"__setstate__"}  # Cython's, by which it refuses to pickle


def functions():
    """All that the twins offer besides classes: module and name."""
    for module in sorted(HOT_PATHS):
        room, _, path = module.rpartition(".")
        plain = import_module(f"{room}._{path}_py")
        for name in plain.__all__:
            if inspect.isfunction(getattr(plain, name)):
                yield module, name


def classes():
    """All classes that both twins offer: module and name."""
    for module in sorted(HOT_PATHS):
        compiled, plain = twin_modules(module)
        for name in compiled.__all__:
            if inspect.isclass(getattr(plain, name)):
                yield module, name


every_hot_path = pytest.mark.parametrize("module", sorted(HOT_PATHS))
every_class = pytest.mark.parametrize(("module", "name"), list(classes()))


def test_list_of_hot_paths_is_what_the_source_holds():
    assert sorted(HOT_PATHS) == sorted(public_module(pyx) for pyx in SOURCE.glob("penstock/**/_*_c.pyx"))


@every_hot_path
def test_public_module_is_the_chosen_twin(module):
    assert getattr(import_module(module), HOT_PATHS[module]) is load(module, penstock.implementation)


@every_hot_path
def test_public_module_offers_what_its_twins_offer(module):
    compiled, plain = twin_modules(module)
    assert HOT_PATHS[module] in compiled.__all__
    assert set(compiled.__all__) <= set(plain.__all__) <= set(import_module(module).__all__)


@every_class
def test_twins_have_the_same_members(module, name):
    compiled, plain = (getattr(twin, name) for twin in twin_modules(module))
    assert public_members(compiled).keys() == public_members(plain).keys()
    assert special_methods(compiled) == special_methods(plain)
    for member_name, member in public_members(plain).items():
        twin = getattr(compiled, member_name)
        assert callable(twin) == callable(member), member_name
        assert inspect.isdatadescriptor(twin) == inspect.isdatadescriptor(member), member_name
        if not callable(member) and not inspect.isdatadescriptor(member):
            assert twin == member, member_name  # a constant


@every_class
def test_twins_take_the_same_arguments(module, name):
    compiled, plain = (getattr(twin, name) for twin in twin_modules(module))
    assert parameters(constructor(module, name)) == parameters(plain.__init__)
    assert parameters(compiled) == parameters(plain), "the first line of the compiled class's docstring"
    for member_name, member in public_members(plain).items():
        if callable(member):
            assert parameters(getattr(compiled, member_name)) == parameters(member), member_name


@every_class
def test_twins_have_the_same_docstrings(module, name):
    compiled, plain = (getattr(twin, name) for twin in twin_modules(module))
    assert inspect.getdoc(compiled)
    assert inspect.getdoc(compiled) == inspect.getdoc(plain)
    for member_name, member in public_members(plain).items():
        assert inspect.getdoc(member), member_name
        assert inspect.getdoc(getattr(compiled, member_name)) == inspect.getdoc(member), member_name


@pytest.mark.parametrize(("module", "name"), list(functions()))
def test_twin_functions_take_the_same_arguments_and_have_the_same_docstrings(module, name):
    compiled, plain = (getattr(twin, name) for twin in twin_modules(module))
    assert parameters(compiled) == parameters(plain)
    assert inspect.getdoc(plain)
    assert inspect.getdoc(compiled) == inspect.getdoc(plain)


@every_hot_path
def test_twins_go_by_the_same_name(module):
    assert load(module, "c").__name__ == load(module, "py").__name__ == HOT_PATHS[module]


@pytest.fixture
def package(tmp_path):
    """A copy of the package that a test may damage."""
    shutil.copytree(SOURCE / "penstock", tmp_path / "penstock", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "penstock"


def run(package, code, impl):
    environment = {name: value for name, value in os.environ.items() if name != "PENSTOCK_IMPL"}
    if impl is not None:
        environment["PENSTOCK_IMPL"] = impl
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {"PYTHONPATH": str(package.parent)},
        capture_output=True,
        text=True,
        timeout=30,
    )


def implementation(package, impl):
    """What a new interpreter chooses, or the last line of its error."""
    code = """
import penstock
from penstock.ratelimit import TokenBucket
from penstock._twins import __file__
print(penstock.implementation, TokenBucket.__module__, __file__)
"""
    done = run(package, code, impl)
    if done.returncode:
        return done.stderr.splitlines()[-1]
    chosen, module, file = done.stdout.split()
    assert Path(file).parent == package
    assert module == f"penstock.ratelimit._token_bucket_{chosen}"
    return chosen


def compiled_modules(package):
    found = list(package.glob(f"**/_*_c{EXT_SUFFIX}"))
    assert found
    return found


@pytest.mark.parametrize(
    ("impl", "chosen"),
    [
        ("c", "c"),
        ("py", "py"),
        (None, "c"),
        ("", "c"),
        ("rust", "ImportError: PENSTOCK_IMPL must be c, py or unset, got 'rust'"),
    ],
)
def test_switch_chooses_the_implementation(package, impl, chosen):
    assert implementation(package, impl) == chosen


def test_absent_compiled_modules_fall_back_to_pure_python(package):
    for module in compiled_modules(package):
        module.unlink()
    assert implementation(package, None) == "py"
    assert implementation(package, "py") == "py"


def test_absent_compiled_modules_are_an_error_when_asked_for(package):
    for module in compiled_modules(package):
        module.unlink()
    assert implementation(package, "c").startswith("ModuleNotFoundError: No module named 'penstock.")


def test_broken_compiled_module_is_an_error_and_never_a_fallback(package):
    for module in compiled_modules(package):
        module.write_bytes(b"no shared object")
    assert implementation(package, None).startswith("ImportError: ")
    assert implementation(package, "c").startswith("ImportError: ")
    assert implementation(package, "py") == "py"


def test_compiled_modules_of_another_python_count_as_absent(package):
    for module in compiled_modules(package):
        module.rename(module.with_name(module.name.replace(EXT_SUFFIX, ".cpython-38-other.so")))
    assert implementation(package, None) == "py"
