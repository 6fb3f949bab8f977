"""What the command says of itself fits how it was called."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import penstock
from penstock.cli import main
from penstock.cli.program import name_and_version, program


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Two folders with a penstock each, the first of them on the PATH."""
    for folder in ("on the path", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "penstock").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "on the path"), prepend=os.pathsep)
    return tmp_path


@pytest.mark.parametrize(
    ("called", "said"),
    [
        ("on the path/penstock", "penstock"),
        ("elsewhere/penstock", "elsewhere/penstock"),
        ("src/penstock/__main__.py", "python -m penstock"),
    ],
)
def test_command_is_named_as_the_user_can_type_it(installed, monkeypatch, called, said):
    monkeypatch.chdir(installed)
    monkeypatch.setattr(sys, "argv", [called])
    assert program() == said


def test_folder_with_a_blank_is_quoted(installed, monkeypatch):
    path = Path(installed, "my tools")
    path.mkdir()
    (path / "penstock").touch(mode=0o755)
    monkeypatch.setattr(sys, "argv", [str(path / "penstock")])
    assert program() == f"'{path}/penstock'"


def test_ctrl_c_while_a_command_is_imported_is_exit_130(monkeypatch, capfd):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("penstock.cli.import_module", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["limit", "requests.txt"])
    assert (ended.value.code, *capfd.readouterr()) == (130, "", "")


def test_ctrl_c_while_the_command_line_is_imported_is_exit_130_and_quiet(tmp_path):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    ended = subprocess.run(
        [sys.executable, "-m", "penstock", "--version"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, b"", b"")


def test_version_says_which_twins_run():
    twins = {"c": "compiled", "py": "pure Python"}[penstock.implementation]
    assert name_and_version().startswith(f"penstock {penstock.__version__}, hot paths {twins}")


def groups(command, *path):
    """Every command that has commands of its own, as it is called."""
    if isinstance(command, click.Group):
        yield path
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from groups(command.get_command(context, name), *path, name)


def test_lists_of_commands_leave_no_sentence_unfinished_in_80_columns():
    for path in groups(main):
        told = CliRunner(env={"COLUMNS": "80"}).invoke(main, [*path, "--help"]).stdout
        commands = told.partition("\nCommands:\n")[2].partition("\n\n")[0].splitlines()
        assert commands, path
        assert not [line for line in commands if line.endswith("...")]
