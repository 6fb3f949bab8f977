"""A missing engine or data set is told aloud: a skip at home, a failure in CI."""

import pytest

import datasets
import engines


def test_engine_that_is_there_is_found(monkeypatch, tmp_path):
    program = tmp_path / "turbine"
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engines.require("turbine") == str(program)


def test_missing_engine_skips_and_names_the_command_that_installs_it(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="turbine is not installed: run scripts/setup-engines"):
        engines.require("turbine")


def test_missing_engine_fails_in_ci(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="turbine is not installed: run scripts/setup-engines"):
        engines.require("turbine")


def test_data_is_found_in_the_named_folder(monkeypatch, tmp_path):
    (tmp_path / "logs").mkdir()
    monkeypatch.setenv("PENSTOCK_TEST_DATA", str(tmp_path))
    assert datasets.require("logs") == tmp_path / "logs"


def test_data_missing_from_the_named_folder_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("PENSTOCK_TEST_DATA", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match="PENSTOCK_TEST_DATA must hold logs, got"):
        datasets.require("logs")


def test_data_that_is_nowhere_skips_with_one_reason_for_all_and_names_the_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("PENSTOCK_TEST_DATA", raising=False)
    monkeypatch.setattr(datasets, "DEFAULT", tmp_path)
    reasons = set()
    for path in ("logs", "cache_traces"):
        with pytest.raises(pytest.skip.Exception, match="set PENSTOCK_TEST_DATA") as skipped:
            datasets.require(path)
        reasons.add(str(skipped.value))
    assert len(reasons) == 1  # pytest lists reasons, and counts what has the same
