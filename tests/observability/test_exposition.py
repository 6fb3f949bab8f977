"""The text for Prometheus, read by its own client's parser."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families as families_of

from penstock.errors import PenstockError
from penstock.observability import Exposition, Histogram
from penstock.observability.exposition import check_can_be_put


def samples_of(exposition):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families_of(str(exposition))
        for sample in family.samples
    }


def test_a_gauge_is_read_back_with_its_help_and_kind():
    exposition = Exposition()
    exposition.gauge("probe_success", "It\nwent \\ well.", [({}, 1), ({"target": "a"}, 0.25)])
    (family,) = families_of(str(exposition))
    assert (family.name, family.type, family.documentation) == ("probe_success", "gauge", "It\nwent \\ well.")
    assert samples_of(exposition) == {("probe_success",): 1.0, ("probe_success", ("target", "a")): 0.25}


@given(st.text(), st.floats(allow_nan=False))
def test_labels_of_any_text_and_every_number_are_read_back(text, number):
    exposition = Exposition()
    exposition.counter("seen_total", "Seen.", [({"who": text}, number)])
    assert samples_of(exposition) == {("seen_total", ("who", text)): number}


def test_what_is_no_number_is_told():
    exposition = Exposition()
    exposition.gauge("nothing", "Not known.", [({}, float("nan"))])
    assert str(exposition).endswith("nothing NaN\n")


def test_a_histogram_has_cumulative_buckets_a_sum_and_a_count():
    values = Histogram()
    for milliseconds in (1, 1, 5, 50, 5_000):
        values.record(milliseconds * 1_000_000)
    exposition = Exposition()
    exposition.histogram("took_seconds", "Taken.", [({"a": "b"}, values)], bounds=[0.01, 0.1, 1])
    found = samples_of(exposition)
    counts = {dict(key[1:])["le"]: n for key, n in found.items() if key[0] == "took_seconds_bucket"}
    assert counts == {"0.01": 3, "0.1": 4, "1": 4, "+Inf": 5}
    assert found["took_seconds_count", ("a", "b")] == 5
    assert found["took_seconds_sum", ("a", "b")] == pytest.approx(5.057, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "label", "words"),
    [
        ("1st", "a", "a metric's name must be letters, digits, _ and :, got '1st'"),
        ("naïve", "a", "a metric's name must be letters, digits, _ and :, got 'naïve'"),
        ("good", "__own", "a label's name must be letters, digits and _, got '__own'"),
        ("good", 'a"b', "a label's name must be letters, digits and _, got 'a\"b'"),
    ],
)
def test_names_that_prometheus_does_not_take_are_refused(name, label, words):
    with pytest.raises(ValueError, match="must be") as refused:
        Exposition().gauge(name, "Help.", [({label: "x"}, 1)])
    assert isinstance(refused.value, PenstockError)
    assert str(refused.value) == words


def test_a_family_is_added_once():
    exposition = Exposition()
    exposition.gauge("up", "Up.", [])
    with pytest.raises(ValueError, match="a metric must be added once, got 'up' again"):
        exposition.counter("up", "Up.", [])


def test_a_file_is_replaced_whole_and_can_be_read_by_others(tmp_path):
    path = tmp_path / "penstock.prom"
    path.write_text("old")
    exposition = Exposition()
    exposition.gauge("up", "Up.", [({}, 1)])
    exposition.write(path)
    assert path.read_text() == str(exposition)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        Exposition().write(tmp_path / "taken")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_a_link_leads_to_the_file_that_is_meant(tmp_path):
    (tmp_path / "real.prom").write_text("old")
    (tmp_path / "link.prom").symlink_to(tmp_path / "real.prom")
    exposition = Exposition()
    exposition.gauge("up", "Up.", [({}, 1)])
    exposition.write(tmp_path / "link.prom")
    assert (tmp_path / "link.prom").is_symlink()
    assert (tmp_path / "real.prom").read_text() == str(exposition)


def test_what_is_no_file_is_written_to_and_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    exposition = Exposition()
    exposition.gauge("up", "Up.", [({}, 1)])
    check_can_be_put(tmp_path / "pipe")
    exposition.write(tmp_path / "pipe")
    assert os.read(reader, 1_000).decode() == str(exposition)
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_whether_a_file_can_be_put_is_told_beforehand_and_leaves_nothing(tmp_path):
    check_can_be_put(tmp_path / "new.prom")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"new\.prom"):
        check_can_be_put(tmp_path / "none" / "new.prom")
