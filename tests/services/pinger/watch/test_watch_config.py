"""Settings of the watch."""

import re

import pytest

from penstock.errors import PenstockError
from penstock.services.pinger.watch.config import Config, load_config


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path):
    file = tmp_path / "watch.toml"
    file.write_text('targets = "t.toml"\nport = 1\ninterval = 10\nwebhooks = ["http://a/"]\n')
    config = load_config(
        file,
        flags={"port": 3, "host": None},
        environment={"PENSTOCK_PING_PORT": "2", "PENSTOCK_PING_TIMEOUT": "2.5", "PATH": "/bin"},
    )
    assert (config.port, config.timeout, config.interval, config.webhooks) == (3, 2.5, 10, ("http://a/",))
    assert config.host == Config().host


@pytest.mark.parametrize(
    ("flags", "environment", "words"),
    [
        ({"port": 70_000}, {}, "--port: Expected `int` <= 65535"),
        ({"interval": 1e-10}, {}, "--interval: Expected `float` >= 0.01"),
        ({"keep_days": 0}, {}, "--keep-days: Expected `float` > 0.0"),
        ({}, {"PENSTOCK_PING_COLOUR": "red"}, "PENSTOCK_PING_COLOUR is no setting; there are: concurrency, "),
        ({}, {"PENSTOCK_PING_WEBHOOKS": "http://a/"}, "PENSTOCK_PING_WEBHOOKS must be JSON"),
        (
            {"webhooks": ["ftp://a/"]},
            {},
            "--webhook: webhooks must be http:// or https:// URLs, got 'ftp://a/'",
        ),
        ({"webhooks": ["http://a/"] * 17}, {}, "webhooks must be at most 16, got 17"),
    ],
)
def test_what_is_no_setting_is_refused_by_its_place(flags, environment, words):
    with pytest.raises(ValueError, match=re.escape(words)) as refused:
        load_config(flags=flags, environment=environment)
    assert isinstance(refused.value, PenstockError)


def test_what_a_file_says_wrong_is_told_with_the_file(tmp_path):
    file = tmp_path / "watch.toml"
    file.write_text("interval = -1\n")
    with pytest.raises(ValueError, match=r"watch\.toml: Expected .*interval"):
        load_config(file, environment={})
    file.write_text("interval = \n")
    with pytest.raises(ValueError, match=r"watch\.toml: no valid TOML"):
        load_config(file, environment={})
