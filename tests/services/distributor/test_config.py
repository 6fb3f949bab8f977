"""Settings: where they come from, which one wins, and how a wrong one is told."""

from hashlib import sha256

import msgspec
import pytest

from penstock.errors import InvalidValue
from penstock.services.distributor.config import (
    AnalyzerConfig,
    Config,
    Simulation,
    TlsConfig,
    listen_address,
    load_config,
)

PREFIX = "PENSTOCK_DISTRIBUTOR_"
K_DIGEST = sha256(b"k" * 16).hexdigest()


@pytest.fixture
def load(tmp_path):
    """Settings from a file of this text, this environment and these flags."""

    def load(text="", environment=None, **flags):
        file = tmp_path / "distributor.toml"
        file.write_text(text)
        return load_config(file, environment=environment or {}, flags=flags)

    return load


def error_of(load, *arguments, **flags):
    with pytest.raises(InvalidValue) as refused:
        load(*arguments, **flags)
    text = str(refused.value)
    assert "\n" not in text
    return text


def test_without_anything_the_defaults_hold():
    assert load_config(environment={}) == Config()
    assert (Config().port, Config().durability, Config().analyzers) == (8080, "fsync", ())


def test_file_sets_every_kind_of_setting(load):
    config = load(
        """
        port = 9999
        host = "0.0.0.0"
        durability = "os"
        linger = 0
        rate_limit = 100.5
        [[analyzers]]
        id = "a1"
        url = "http://127.0.0.1:9000/packets"
        weight = 3
        name = "Analyzer A"
        health_url = "https://example.org/well"
        [[analyzers]]
        id = "a2"
        url = "http://[::1]:9001/"
        [simulation]
        failure_rate = 0.5
        seed = 7
        """
    )
    assert (config.port, config.host, config.durability) == (9999, "0.0.0.0", "os")
    assert (config.linger, config.rate_limit) == (0, 100.5)
    assert config.analyzers == (
        AnalyzerConfig(
            "a1", "http://127.0.0.1:9000/packets", 3, "Analyzer A", "https://example.org/well"
        ),
        AnalyzerConfig("a2", "http://[::1]:9001/"),
    )  # fmt: skip
    assert config.simulation == Simulation(failure_rate=0.5, seed=7)


def test_flags_win_over_the_environment_and_that_over_the_file(load):
    text = "port = 1\nmax_packets = 1\nlinger = 0.1"
    environment = {f"{PREFIX}PORT": "2", f"{PREFIX}MAX_PACKETS": "2", "PORT": "4", "OTHER": "x"}
    config = load(text, environment, port=3, host=None)
    assert (config.port, config.max_packets, config.linger, config.host) == (3, 2, 0.1, "127.0.0.1")


def test_environment_carries_analyzers_and_simulation_as_json(load):
    environment = {
        f"{PREFIX}ANALYZERS": '[{"id": "a", "url": "http://h/p", "weight": 2}]',
        f"{PREFIX}SIMULATION": '{"processing_time": 0}',
        f"{PREFIX}RATE_LIMIT": "5",
        f"{PREFIX}TRUSTED_PROXIES": '["10.0.0.0/8", "::1"]',
    }
    config = load("", environment)
    assert config.analyzers == (AnalyzerConfig("a", "http://h/p", 2),)
    assert config.simulation.processing_time == 0
    assert config.rate_limit == 5
    assert config.trusted_proxies == ("10.0.0.0/8", "::1")


def test_environment_of_the_process_is_read_when_none_is_given(monkeypatch):
    monkeypatch.setenv(f"{PREFIX}PORT", "1234")
    assert load_config().port == 1234


# Errors name the place, the field and the rule


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("port = 70000", "Expected `int` <= 65535 - at `$.port`"),
        ("port = -1", "Expected `int` >= 0 - at `$.port`"),
        ("port = true", "Expected `int`, got `bool` - at `$.port`"),
        ("port = 8.5", "got `float` - at `$.port`"),
        ("prot = 8080", "prot is no setting; did you mean port?"),
        ("xyzzy = 1", "xyzzy is no setting; there are: accept_timeout, "),
        ("max_packets = 0", "Expected `int` >= 1 - at `$.max_packets`"),
        ("max_pending = 1000000000000000000000", "at `$.max_pending`"),
        ("drain_timeout = inf", "at `$.drain_timeout`"),
        ("drain_timeout = nan", "at `$.drain_timeout`"),
        ("accept_timeout = 0", "Expected `float` > 0.0 - at `$.accept_timeout`"),
        ("linger = 2", "Expected `float` <= 1.0 - at `$.linger`"),
        ("rate_limit = 0", "at `$.rate_limit`"),
        ("client_rate_limit = 0", "Expected `float` >= 0.001 - at `$.client_rate_limit`"),
        ("client_rate_limit = inf", "at `$.client_rate_limit`"),
        ("client_burst = 0", "Expected `int` >= 1 - at `$.client_burst`"),
        ('trusted_proxies = "10.0.0.0/8"', "Expected `array`, got `str` - at `$.trusted_proxies`"),
        ('trusted_proxies = ["10.0.0.1/8"]', "trusted_proxies must be networks such as 10.0.0.0/8"),
        ('durability = "disk"', "'disk' - at `$.durability`"),
        ("simulation = {failure_rate = 1.1}", "Expected `float` <= 1.0 - at `$.simulation.failure_rate`"),
        ("simulation = {processing_time = -1}", "at `$.simulation.processing_time`"),
        ("analyzers = 3", "Expected `array`, got `int` - at `$.analyzers`"),
        ('analyzers = [{id = "a"}]', "missing required field `url` - at `$.analyzers[0]`"),
        ('analyzers = [{id = "a", url = ""}]', "url of analyzer a must not be empty"),
        ('analyzers = [{id = "a b", url = "http://h"}]', "at `$.analyzers[0].id`"),
        ('analyzers = [{id = "a\\n", url = "http://h"}]', "at `$.analyzers[0].id`"),
        ('analyzers = [{id = "a", url = "http://h", weight = 0}]', "at `$.analyzers[0].weight`"),
        ('analyzers = [{id = "a", url = "http://h", weight = inf}]', "at `$.analyzers[0].weight`"),
        ('analyzers = [{id = "a", url = "http://h", colour = 1}]', "unknown field `colour`"),
        (
            'analyzers = [{id = "a", url = "http://h"}, {id = "a", url = "http://i"}]',
            "analyzer ids must differ, got a more than once",
        ),
        (
            'analyzers = [{id = "a", url = "http://h"}, {id = "b", url = "http://h", weight = 0.1234567891}]',
            "weights must reduce to integers",
        ),
        ("port = ", "no valid TOML"),
        ("port = 1\nport = 2", "no valid TOML"),
        ("[[", "no valid TOML"),
    ],
)
def test_error_in_the_file_names_file_field_and_rule(load, text, words):
    error = error_of(load, text)
    assert words in error
    assert "distributor.toml: " in error


def test_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "f.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidValue, match=r"f\.toml: no valid TOML"):
        load_config(tmp_path / "f.toml", environment={})


def test_file_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_config(tmp_path / "none.toml", environment={})


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/", "h:80", "//h/", "http://", "http:///x", "http://h:99999/", "http://h:x/", "http://h:0/",
        "http://[::1/", "http://h h/", "http://h/\n", "http://h/ü", "javascript:alert(1)",
    ],
)  # fmt: skip
def test_url_that_requests_cannot_be_sent_to_is_refused(url):
    for field in ("url", "health_url"):
        settings = {"id": "a7", "url": "http://h/", field: url}
        with pytest.raises(msgspec.ValidationError, match=f"{field} of analyzer a7 must be an http:// or"):
            msgspec.convert(settings, AnalyzerConfig)


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("PORT", "x", "PENSTOCK_DISTRIBUTOR_PORT: Expected `int`, got `str`"),
        ("PORT", "70000", "PENSTOCK_DISTRIBUTOR_PORT: Expected `int` <= 65535"),
        ("PORT", "", "PENSTOCK_DISTRIBUTOR_PORT: Expected `int`"),
        ("LINGER", "nan", "PENSTOCK_DISTRIBUTOR_LINGER: Expected `float` >= 0.0"),
        ("PROT", "1", "PENSTOCK_DISTRIBUTOR_PROT is no setting; did you mean port?"),
        ("ANALYZERS", "{", "PENSTOCK_DISTRIBUTOR_ANALYZERS must be JSON"),
        ("ANALYZERS", "{}", "PENSTOCK_DISTRIBUTOR_ANALYZERS: Expected `array`"),
        ("SIMULATION", '{"speed": 1}', "PENSTOCK_DISTRIBUTOR_SIMULATION: Object contains unknown field"),
    ],
)
def test_error_in_the_environment_names_the_variable(load, variable, value, words):
    assert error_of(load, "", {PREFIX + variable: value}).startswith(words)


def test_error_in_a_flag_names_the_flag(load):
    assert error_of(load, port=70_000).startswith("--port: Expected `int` <= 65535")
    assert error_of(load, data_dir=3).startswith("--data-dir: Expected `str`")
    analyzers = [{"id": "a", "url": "http://h", "weight": "many"}]
    assert error_of(load, analyzers=analyzers).startswith("--analyzers: Expected `float`, got `str`")


def test_sixty_four_analyzers_are_the_most(load):
    analyzers = [{"id": f"a{n}", "url": "http://h"} for n in range(65)]
    assert len(load(analyzers=analyzers[:64]).analyzers) == 64
    assert "analyzers must be at most 64, got 65" in error_of(load, analyzers=analyzers)


# What an analyzer's URL leads to


@pytest.mark.parametrize(
    ("url", "probe", "public"),
    [
        ("http://h:9/packets?x=1#f", "http://h:9/health", "http://h:9/packets?x=1#f"),
        ("http://[::1]:9/", "http://[::1]:9/health", "http://[::1]:9/"),
        ("https://me:secret@h/p", "https://me:secret@h/health", "https://h/p"),
    ],
)
def test_health_is_asked_for_on_the_same_host_and_passwords_are_not_shown(url, probe, public):
    analyzer = AnalyzerConfig("a", url)
    assert analyzer.probe_url == probe
    assert analyzer.public_url == public
    assert AnalyzerConfig("a", url, health_url="http://other/").probe_url == "http://other/"


# Groups, inputs, keys, TLS, and analyzers that are not HTTP


def test_file_sets_groups_inputs_keys_and_tls(load):
    config = load(
        """
        syslog_tcp = "0.0.0.0:5514"
        syslog_udp = "[::1]:5514"
        forward = "127.0.0.1:24224"
        [tls]
        cert_file = "cert.pem"
        client_ca_file = "ca.pem"
        [[groups]]
        id = "errors"
        balance = "sticky"
        sticky_key = "metadata.host"
        match = {min_level = "ERROR", source = ["api-*"], metadata = {region = ["eu-?"]}}
        [[analyzers]]
        id = "a"
        url = "https://h/p"
        group = "errors"
        tier = 1
        compression = "gzip"
        headers = {Authorization = "Bearer x"}
        [[analyzers]]
        id = "b"
        url = "file:///var/log/packets%20of%20today.ndjson"
        [[analyzers]]
        id = "c"
        url = "stdout:"
        [[analyzers]]
        id = "d"
        url = "http://h:4318/v1/logs"
        kind = "otlp"
        [[api_keys]]
        name = "shop"
        key = "shop-key-0123456789"
        rate_limit = 100
        [[api_keys]]
        name = "eyes"
        key = "eyes-key-0123456789"
        may_send = false
        may_read = true
        [[tail]]
        path = "/var/log/app/*.log"
        """
    )
    assert [analyzer.carried_by for analyzer in config.analyzers] == ["http", "file", "stdout", "otlp"]
    assert config.analyzers[1].path == "/var/log/packets of today.ndjson"
    assert [analyzer.probe_url for analyzer in config.analyzers] == [
        "https://h/health",
        "",
        "",
        "http://h:4318/health",
    ]
    assert config.groups[0].match.metadata == {"region": ("eu-?",)}
    assert config.tls == TlsConfig("cert.pem", client_ca_file="ca.pem")
    assert listen_address(config.syslog_udp, "syslog_udp") == ("::1", 5514)
    assert config.api_keys[0].rate_limit == 100
    rights = [(key.may_send, key.may_read, key.may_operate) for key in config.api_keys]
    assert rights == [(True, False, False), (False, True, False)], "a key may send, unless told otherwise"


ANALYZER = 'analyzers = [{id = "a", url = "http://h"}]\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            'analyzers = [{id = "a", url = "file:relative"}]',
            "url of analyzer a must be file:///ABSOLUTE/PATH",
        ),
        (
            'analyzers = [{id = "a", url = "file://host/x"}]',
            "url of analyzer a must be file:///ABSOLUTE/PATH",
        ),
        (
            'analyzers = [{id = "a", url = "stdout:x"}]',
            "url of analyzer a must be stdout: for standard output",
        ),
        ('analyzers = [{id = "a", url = "h", kind = "otlp"}]', "must be an http:// or https:// URL, got 'h'"),
        (
            'analyzers = [{id = "a", url = "10.0.0.7:9000"}]',
            "got '10.0.0.7:9000'; file:///PATH and stdout: are possible, too",
        ),
        ('analyzers = [{id = "a", url = "http://h", tier = 10}]', "at `$.analyzers[0].tier`"),
        (
            'analyzers = [{id = "a", url = "http://h", group = "x"}]',
            "group of analyzer a must be one of default",
        ),
        (
            'analyzers = [{id = "a", url = "http://h", key_file = "k"}]',
            "key_file of analyzer a needs cert_file",
        ),
        ('groups = [{id = "g"}]', "groups need analyzers"),
        (ANALYZER + 'groups = [{id = "g"}]', "group g must have at least one analyzer"),
        (
            'analyzers = [{id = "a", url = "http://h", group = "g"}]\ngroups = [{id = "g"}]',
            "group default must have at least one analyzer",
        ),
        (ANALYZER + 'groups = [{id = "g"}, {id = "g"}]', "group ids must differ, got g more than once"),
        ('syslog_tcp = "5514"', "syslog_tcp must be HOST:PORT, such as 127.0.0.1:5514, got '5514'"),
        ('syslog_udp = "h:99999"', "syslog_udp must be HOST:PORT"),
        ('forward = ":24224"', "forward must be HOST:PORT"),
        ('api_keys = [{name = "a"}]', "API key a must have either key or sha256"),
        (
            f'api_keys = [{{name = "a", key = "{"k" * 16}", may_send = false}}]',
            "API key a must have may_send, may_read or may_operate",
        ),
        (
            "max_body_bytes = 1000\nmax_receiving_bytes = 999",
            "max_receiving_bytes must be at least max_body_bytes (1000), got 999",
        ),
        ('api_keys = [{name = "a", key = "short"}]', "length >= 16 - at `$.api_keys[0].key`"),
        ('api_keys = [{name = "a", sha256 = "ab"}]', "at `$.api_keys[0].sha256`"),
        (
            f'api_keys = [{{name = "a", key = "{"k" * 16}", sha256 = "{"ab" * 32}"}}]',
            "must have either key or sha256",
        ),
        (
            f'api_keys = [{{name = "a", key = "{"k" * 16}"}}, {{name = "a", key = "{"l" * 16}"}}]',
            "names of api_keys must differ, got a more than once",
        ),
        (
            f'api_keys = [{{name = "a", key = "{"k" * 16}"}}, {{name = "b", sha256 = "{K_DIGEST}"}}]',
            "api_keys must differ, got the same key for a and b",
        ),
        ('api_keys = [{name = "a", key = "with the end of its line\\n"}]', "at `$.api_keys[0].key`"),
        ("tls = {}", "missing required field `cert_file` - at `$.tls`"),
        ('tail = [{path = ""}]', "length >= 1 - at `$.tail[0].path`"),
        ("low_water = 0", "at `$.low_water`"),
        ("retry_jitter = 1.5", "at `$.retry_jitter`"),
        ("retry_statuses = [500]", "at `$.retry_statuses[0]`"),
    ],
)
def test_error_in_groups_inputs_keys_or_analyzers_names_the_rule(load, text, words):
    assert words in error_of(load, text)


@pytest.mark.parametrize("name", ["groups", "tls", "api_keys", "tail", "retry_statuses"])
def test_environment_carries_whatever_has_parts_as_json(load, name):
    parts = {
        "groups": "[]", "tls": '{"cert_file": "c"}', "api_keys": '[{"name": "a", "key": "0123456789abcdef"}]',
        "tail": '[{"path": "p"}]', "retry_statuses": "[408]",
    }  # fmt: skip
    config = load("", {f"{PREFIX}{name.upper()}": parts[name]})
    assert bool(getattr(config, name)) == (name != "groups")
