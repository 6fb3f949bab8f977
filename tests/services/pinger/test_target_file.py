"""What a file of targets may say, and how it is told what it may not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.services.pinger import target_file
from penstock.services.pinger.model import Target
from penstock.services.pinger.target_file import InvalidTargets, read_target_file

WHOLE = """
timeout = "2s"
headers = { X-Team = "all", X-Kept = "1" }
warn = ["cert>30d"]
labels = { place = "here" }

[[target]]
url = "https://example.com/health"
name = "shop"
method = "POST"
headers = { x-team = "shop" }
body = "ping?"
interval = "30s"
timeout = "500ms"
assert = ["status==200", "body~ready"]
labels = { team = "web" }

[[target]]
url = "http://10.0.0.7:8080/"
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "targets.toml"


def test_target_has_what_its_table_says_and_what_is_said_for_all(path):
    path.write_text(WHOLE)
    shop, other = read_target_file(path)
    assert shop == Target(
        "https://example.com/health",
        name="shop",
        method="POST",
        headers=(("X-Kept", "1"), ("x-team", "shop")),
        body=b"ping?",
        timeout=0.5,
        interval=30.0,
        assertions=shop.assertions,
        labels=(("place", "here"), ("team", "web")),
    )
    assert [(one.text, one.severity) for one in shop.assertions] == [
        ("status==200", "fail"),
        ("body~ready", "fail"),
        ("cert>30d", "warn"),
    ]
    assert (other.timeout, other.interval, other.name) == (2.0, None, "")
    assert [one.text for one in other.assertions] == ["cert>30d"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "targets.toml must hold targets, each under [[target]]"),
        ("target = 3", "must hold targets, each under [[target]]"),
        ("target = [3]", "must hold targets, each under [[target]]"),
        ("[[target]]", "targets.toml: target 1: url must be given"),
        ('[[target]]\nname = "shop"', "target 1 (shop): url must be given"),
        (
            '[[target]]\nurl = "ftp://x/"',
            "url must be one that can be pinged: must start with http:// or https://",
        ),
        ("[[target]]\nurl = 3", "target 1: url must be a text, got 3"),
        (
            '[[target]]\nurl = "http://x/"\nurls = "y"',
            "target 1 (http://x/): 'urls' is no key: choose of url, name",
        ),
        (
            'speed = "x"\n[[target]]\nurl = "http://x/"',
            "targets.toml: 'speed' is no key: choose of method, headers",
        ),
        ('[[target]]\nurl = "http://x/"\ntimeout = 3', "timeout must be a time > 0 and at most a year"),
        ('[[target]]\nurl = "http://x/"\ntimeout = "5"', "with its unit, such as \"1.5s\", got '5'"),
        ('[[target]]\nurl = "http://x/"\ninterval = "0s"', "interval must be a time > 0"),
        (
            '[[target]]\nurl = "http://x/"\ninterval = "400d"',
            "interval must be a time > 0 and at most a year",
        ),
        (
            '[[target]]\nurl = "http://x/"\nname = ""',
            "name must be a text of 1 to 1000 printable characters, got ''",
        ),
        (
            '[[target]]\nurl = "http://x/"\nname = "a\\nb"',
            "name must be a text of 1 to 1000 printable characters",
        ),
        ('[[target]]\nurl = "http://x/"\nheaders = ["a"]', "headers must be a table of texts"),
        ('[[target]]\nurl = "http://x/"\nheaders = { A = 1 }', "headers must be a table of texts"),
        ('[[target]]\nurl = "http://x/"\nheaders = { "a b" = "1" }', "header name must be letters"),
        ('[[target]]\nurl = "http://x/"\nmethod = "CONNECT"', "method must not ask for a tunnel"),
        ('[[target]]\nurl = "http://x/"\nassert = "status==200"', "assert must be a list of texts"),
        ('[[target]]\nurl = "http://x/"\nassert = ["speed>3"]', "'speed' cannot be asserted"),
        ('[[target]]\nurl = "http://x/"\nassert = ["p99<1s"]', "assert must be about one answer"),
        ('[[target]]\nurl = "http://x/"\nbody = 3', "body must be a text, got 3"),
        ('[[target]]\nurl = "http://x/"\nurl = "http://y/"', "must be TOML in UTF-8: "),
        ("[[target", "must be TOML in UTF-8: "),
        ("x = " + "[" * 10_000, "must be TOML in UTF-8: "),
    ],
)
def test_what_is_wrong_is_told_by_target_key_rule_and_value(path, content, words):
    path.write_text(content)
    with pytest.raises(InvalidTargets) as refused:
        read_target_file(path)
    assert words in str(refused.value)
    assert isinstance(refused.value, PenstockError)
    assert isinstance(refused.value, ValueError)


def test_file_that_is_no_text_is_refused(path):
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidTargets, match="must be TOML in UTF-8"):
        read_target_file(path)


def test_endless_file_is_left_at_the_bound(monkeypatch):
    monkeypatch.setattr(target_file, "MAX_FILE_BYTES", 1000)
    with pytest.raises(InvalidTargets, match="/dev/zero must be at most 1000 bytes"):
        read_target_file("/dev/zero")


def test_more_targets_than_allowed_are_refused(path, monkeypatch):
    monkeypatch.setattr(target_file, "MAX_TARGETS", 1)
    path.write_text(WHOLE)
    with pytest.raises(InvalidTargets, match="must hold at most 1 targets, got 2"):
        read_target_file(path)


@given(
    st.recursive(
        st.text(max_size=8) | st.integers() | st.booleans(), lambda inner: st.lists(inner, max_size=3)
    )
)
def test_any_value_of_any_key_is_taken_or_refused(value):
    for key in target_file.OF_A_TARGET:
        try:
            target_file.targets_of({"target": [{"url": "http://x/", key: value}]}, "f")
        except InvalidTargets:
            continue
