"""Pings as Prometheus reads them: by the parser of its own client."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families as families_of

from penstock.probing.exchange import Exchange, Phases, TcpFacts, TlsFacts
from penstock.services.pinger.model import Attempt, Hop, PingResult, Verdict
from penstock.services.pinger.prometheus import PrometheusFile, probe_figures

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MS = 1_000_000


def answered(**changes):
    first = Exchange(status=301, phases=Phases(1 * MS, 2 * MS, 3 * MS, 4 * MS, 0, 10 * MS))
    last = Exchange(
        status=200,
        phases=Phases(0, 2 * MS, 3 * MS, 4 * MS, 5 * MS, 14 * MS),
        clock="kernel",
        address="::1",
        head=b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
        size=12,
        tcp=TcpFacts(7 * MS, 6 * MS, 2),
        tls=TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256", not_after=2e9),
    )
    hops = (Hop("https://a.example/", first), Hop("https://a.example/b", last))
    ping = PingResult(
        MOMENT, "https://a.example/", 200, 24.0, "", 2, total=30 * MS, tries=(Attempt(hops, 200, ""),)
    )
    return replace(ping, **changes)


def samples_of(text):
    return {
        (sample.name, *(f"{key}={value}" for key, value in sorted(sample.labels.items()))): sample.value
        for family in families_of(str(text))
        for sample in family.samples
    }


def test_an_answer_has_the_figures_that_blackbox_exporter_gives():
    found = samples_of(probe_figures([({}, answered())]))
    assert found["probe_success",] == 1
    assert found["probe_duration_seconds",] == 0.03
    phases = ("resolve", "connect", "tls", "processing", "transfer")
    seconds = [found["probe_http_duration_seconds", f"phase={phase}"] for phase in phases]
    assert seconds == [0.001, 0.004, 0.006, 0.008, 0.005]  # of both requests together
    assert found["probe_http_status_code",] == 200
    assert found["probe_http_redirects",] == 1
    assert found["probe_http_content_length",] == 12
    assert found["probe_http_ssl",] == 1
    assert found["probe_ip_protocol",] == 6
    assert found["probe_ssl_earliest_cert_expiry",] == 2e9
    assert found["probe_tls_version_info", "version=TLSv1.3"] == 1
    assert found["penstock_probe_attempts",] == 2
    assert found["penstock_probe_kernel_clock",] == 1
    assert found["penstock_probe_tcp_rtt_seconds",] == 0.007
    assert found["penstock_probe_tcp_retransmits",] == 2


def test_what_has_no_answer_says_so_and_nothing_about_an_answer():
    hops = (Hop("http://a.example/", Exchange(failure="connect", error="connection refused")),)
    dead = PingResult(
        MOMENT,
        "http://a.example/",
        0,
        1.0,
        "connection refused",
        1,
        tries=(Attempt(hops, 0, "connection refused"),),
    )
    found = samples_of(probe_figures([({}, dead)]))
    assert (found["probe_success",], found["probe_http_status_code",]) == (0, 0)
    assert not {key[0] for key in found} & {
        "probe_http_content_length",
        "probe_http_ssl",
        "probe_ip_protocol",
    }


def test_what_is_no_url_has_a_sample_too():
    nothing = PingResult(MOMENT, "gopher:", 0, 0.0, "invalid URL: no host", 0)
    found = samples_of(probe_figures([({}, nothing)]))
    assert (found["probe_success",], found["probe_http_redirects",], found["penstock_probe_attempts",]) == (
        0,
        0,
        0,
    )


@pytest.mark.parametrize(("assertion", "due"), [("body~ready", 1), ("header:a~b", 1), ("tls<200ms", 0)])
def test_a_word_that_is_missing_is_told_apart_from_other_failures(assertion, due):
    ping = answered(verdicts=(Verdict(assertion, "fail", "got nothing"),))
    found = samples_of(probe_figures([({}, ping)]))
    assert (found["probe_success",], found["probe_failed_due_to_regex",]) == (0, due)


@pytest.mark.parametrize("announced", ["none", "-3", "²", "", "9" * 5_000])
def test_a_length_that_is_none_is_minus_one(announced):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {announced}\r\n\r\n".encode()
    last = Exchange(status=200, head=head)
    ping = answered(tries=(Attempt((Hop("http://a.example/", last),), 200, ""),))
    assert samples_of(probe_figures([({}, ping)]))["probe_http_content_length",] == -1


def test_the_file_holds_the_last_ping_of_each_target_with_its_labels(tmp_path):
    file = PrometheusFile(tmp_path / "ping.prom")
    file.write(answered(name="shop", labels=(("team", 'the "a"'),)))
    file.write(answered(name="shop", labels=(("team", 'the "a"'),), status=503))
    file.write(answered())
    file.close()
    found = samples_of((tmp_path / "ping.prom").read_text())
    assert found["probe_http_status_code", "target=shop", 'team=the "a"'] == 503
    assert found["probe_http_status_code", "target=https://a.example/"] == 200
    assert found["penstock_last_run_timestamp_seconds",] == MOMENT.timestamp()


def test_targets_beyond_the_bound_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(PrometheusFile, "MOST", 1)
    file = PrometheusFile(tmp_path / "ping.prom")
    for name in ("a", "b", "a", "b"):
        file.write(answered(name=name))
    file.close()
    found = samples_of((tmp_path / "ping.prom").read_text())
    assert found["penstock_targets_left_out",] == 2
    assert ("probe_success", "target=b") not in found


def test_a_run_without_pings_writes_a_file_without_probes(tmp_path):
    PrometheusFile(tmp_path / "ping.prom").close()
    assert set(samples_of((tmp_path / "ping.prom").read_text())) == {("penstock_targets_left_out",)}


def test_a_length_that_nobody_kept_has_no_sample():
    ping = answered(tries=(Attempt((Hop("http://a.example/", Exchange(status=200)),), 200, ""),))
    assert ("probe_http_content_length",) not in samples_of(probe_figures([({}, ping)]))


def test_the_file_keeps_no_bodies(tmp_path):
    file = PrometheusFile(tmp_path / "ping.prom")
    last = Exchange(status=200, head=b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", body=b"x" * 1_000_000)
    file.write(answered(tries=(Attempt((Hop("http://a.example/", last),), 200, ""),)))
    assert not any(ping.last.body for ping in file._last.values())
    file.close()
    found = samples_of((tmp_path / "ping.prom").read_text())
    assert found["probe_http_content_length", "target=https://a.example/"] == 12


def test_a_file_that_cannot_be_written_is_told_before_the_run(tmp_path):
    path = tmp_path / "none" / "ping.prom"
    with pytest.raises(FileNotFoundError) as refused:
        PrometheusFile(path)
    assert refused.value.filename == str(path)
