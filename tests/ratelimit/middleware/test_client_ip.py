"""Whose request it is: what peers, trusted proxies and liars can say about it."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock import PenstockError
from penstock.ratelimit.middleware import ClientIP, client_ip, ip_key
from penstock.ratelimit.middleware.client_ip import MAX_ENTRY, MAX_HOPS

PROXY = "10.0.0.1"
TRUSTED = ("10.0.0.0/8", "::1", "2001:db8:ffff::/48")


def of(*field_lines, peer=PROXY, forwarded="x-forwarded-for"):
    return client_ip(peer, field_lines, trusted_proxies=TRUSTED, forwarded=forwarded)


def test_client_is_the_peer_when_nobody_is_trusted():
    assert client_ip("192.0.2.1", ["198.51.100.1"]) == "192.0.2.1"
    assert ClientIP().field is None


def test_peer_that_is_no_trusted_proxy_is_not_believed():
    assert of("198.51.100.1", peer="192.0.2.1") == "192.0.2.1"
    assert of("for=198.51.100.1", peer="192.0.2.1", forwarded="forwarded") == "192.0.2.1"


def test_trusted_proxies_are_skipped_from_the_right():
    assert of("198.51.100.1") == "198.51.100.1"
    assert of("203.0.113.9, 198.51.100.1, 10.2.3.4") == "198.51.100.1"
    assert of("198.51.100.1", peer="::1") == "198.51.100.1"


def test_field_lines_are_one_list():
    assert of("203.0.113.9", "198.51.100.1", "10.2.3.4,10.2.3.5") == "198.51.100.1"


def test_furthest_proxy_is_the_client_when_all_are_trusted():
    assert of("10.9.9.9, 10.2.3.4") == "10.9.9.9"
    assert of() == PROXY
    assert of("") == of(" , ,") == PROXY


def test_empty_entries_are_left_out():
    assert of("198.51.100.1, ,, 10.2.3.4,") == "198.51.100.1"


@pytest.mark.parametrize(
    ("entry", "client"),
    [
        ("198.51.100.1:4711", "198.51.100.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25]:80", "fe80::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("[::ffff:198.51.100.1]:80", "198.51.100.1"),
        ("\t198.51.100.1 ", "198.51.100.1"),
    ],
)
def test_port_brackets_zone_and_mapping_do_not_count(entry, client):
    assert of(entry) == client
    assert of(f'for="{entry.strip()}"', forwarded="forwarded") == client


@pytest.mark.parametrize(
    "entry",
    [
        "unknown", "_hidden", "garbage", "198.51.100", "198.51.100.256", "010.1.1.1", "198.51.100.1:http",
        "198.51.100.1:123456", "198.51.100.1%eth0", "[198.51.100.1]", "[2001:db8::1", "2001:db8::1]", "[]",
        ":", "::1%", "198.51.100.1/8", "١٩٨.51.100.1", "\x00", "\udcff", "1" * 5000,
    ],
)  # fmt: skip
def test_entry_that_is_no_address_ends_the_way_at_the_proxy_that_wrote_it(entry):
    assert of(entry) == PROXY
    assert of(f"203.0.113.9, {entry}, 10.2.3.4") == "10.2.3.4"
    assert of(f"203.0.113.9, for={entry}, for=10.2.3.4", forwarded="forwarded") == "10.2.3.4"


def test_quotes_belong_to_forwarded_only():
    assert of('"198.51.100.1"') == PROXY
    assert of('for="198.51.100.1"', forwarded="forwarded") == "198.51.100.1"


def test_mapped_address_of_a_trusted_proxy_is_trusted():
    assert of("198.51.100.1", peer="::ffff:10.0.0.7") == "198.51.100.1"
    assert client_ip("10.0.0.7", ["198.51.100.1"], trusted_proxies=["::ffff:10.0.0.0/104"]) == "198.51.100.1"


def test_peer_without_an_address_is_none_and_believed_only_if_unix_is_trusted():
    for peer in (None, "", "/run/app.sock", "testclient", "x" * 1000):
        assert client_ip(peer, ["198.51.100.1"]) is None
        assert client_ip(peer, ["198.51.100.1"], trusted_proxies=["10.0.0.0/8"]) is None
        assert client_ip(peer, ["198.51.100.1"], trusted_proxies=["unix"]) == "198.51.100.1"
    assert ClientIP().key_of(None) == "unix"
    assert ClientIP(["unix"]).key_of(None, ["unknown"]) == "unix"


def test_only_so_many_hops_are_looked_at():
    inner = ", ".join(["10.2.3.4"] * (MAX_HOPS - 1))
    assert of(f"198.51.100.1, {inner}") == "198.51.100.1"
    assert of(f"198.51.100.1, 10.3.3.3, {inner}") == "10.3.3.3"
    assert of(f"198.51.100.1{',' * MAX_HOPS}10.2.3.4") == "10.2.3.4"
    assert of(*["198.51.100.1"], *["10.2.3.4"] * MAX_HOPS) == "10.2.3.4"


def test_only_so_long_an_entry_is_read():
    padding = " " * (MAX_ENTRY - len("198.51.100.1"))
    assert of(f"198.51.100.1{padding}") == of(f"10.2.3.4,198.51.100.1{padding}") == "198.51.100.1"
    assert of(f"198.51.100.1{padding} ") == of(f"10.2.3.4,198.51.100.1{padding} ") == PROXY
    for_ = "for=198.51.100.1;by="
    quoted = '"' + "x" * (MAX_ENTRY - len(for_) - 2) + '"'
    assert of(for_ + quoted, forwarded="forwarded") == "198.51.100.1"
    assert of(for_ + quoted[:-1] + 'x"', forwarded="forwarded") == PROXY


@pytest.mark.parametrize(
    "entry",
    [
        "for=198.51.100.1",
        "FOR=198.51.100.1;proto=https;by=203.0.113.43",
        'by="a,b;c=d";for="198.51.100.1:80" ; proto=http',
        r'by="a\",for=203.0.113.9\"";for="198\.51.100.1"',
        "; ;for=198.51.100.1;",
    ],
)
def test_forwarded_is_read_as_its_rfc_says(entry):
    assert of(entry, forwarded="forwarded") == "198.51.100.1"
    assert of(f"for=203.0.113.9, {entry}, for=10.2.3.4", forwarded="forwarded") == "198.51.100.1"


@pytest.mark.parametrize(
    "entry",
    ["for", "for=", 'for=""', 'for="198.51.100.1', "for=198.51.100.1;for=198.51.100.2", "by=198.51.100.1",
     "for = 198.51.100.1", "198.51.100.1", 'for="198.51.100.1"x', "for=198.51.100.1 by=x", ";;"],
)  # fmt: skip
def test_entry_of_forwarded_without_a_readable_for_ends_the_way(entry):
    assert of(entry, forwarded="forwarded") == PROXY


@pytest.mark.parametrize("lie", ['for="', 'for="x\\', '"', "for=203.0.113.9;by=\"a'", '\\"', 'for="a",'])
def test_quote_that_a_client_left_open_does_not_swallow_what_the_proxy_adds(lie):
    for added in ("for=198.51.100.1", 'for="198.51.100.1";by="a,b"'):
        assert of(f"{lie}, {added}", forwarded="forwarded") == "198.51.100.1"


def test_no_field_is_read_when_none_is_named():
    assert of("198.51.100.1", forwarded=None) == PROXY


FIELD = st.text(st.sampled_from('0123456789abcdef.:,;="\\[]% for_\t\xff\udc80'), max_size=400)


@given(st.lists(FIELD, max_size=4), st.sampled_from(["x-forwarded-for", "forwarded"]))
@example(['"' * 255 + "\\" * 255], "forwarded")
def test_no_header_raises_and_none_has_a_say_behind_the_proxy(lies, forwarded):
    clients = ClientIP(TRUSTED, forwarded)
    ip_address(clients.of(PROXY, lies))
    entry = "198.51.100.7" if forwarded == "x-forwarded-for" else "for=198.51.100.7"
    assert clients.of(PROXY, [*lies, entry]) == "198.51.100.7"
    assert clients.of(PROXY, [*lies[:-1], f"{''.join(lies[-1:])},{entry}"]) == "198.51.100.7"
    assert clients.of("192.0.2.1", lies) == "192.0.2.1"


@given(st.ip_addresses(v=4), st.lists(st.ip_addresses(v=6) | st.ip_addresses(v=4), max_size=5))
def test_client_is_the_last_address_that_is_not_trusted(client, proxies):
    trusted = [ip_network("128.0.0.0/1"), ip_network("8000::/1")]
    way = [client, *(getattr(each, "ipv4_mapped", None) or each for each in proxies)]
    line = ", ".join(f"[{each}]:1" if each.version == 6 else f"{each}:1" for each in way)
    strangers = [each for each in way if not any(each in network for network in trusted)]
    expected = strangers[-1] if strangers else client
    networks = [str(network) for network in trusted]
    assert client_ip("128.0.0.1", [line], trusted_proxies=networks) == str(expected)


# Keys


def test_key_is_an_ipv4_address_or_the_64_of_an_ipv6_address():
    assert ip_key("192.0.2.1") == "192.0.2.1"
    assert ip_key("2001:db8:1:2:3:4:5:6") == ip_key("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert ip_key("::ffff:192.0.2.1") == ip_key(ip_address("192.0.2.1")) == "192.0.2.1"
    assert ip_key("fe80::1%eth0") == ip_key(ip_address("fe80::1%eth1")) == "fe80::/64"


def test_prefixes_can_be_chosen():
    assert ip_key("192.0.2.77", ipv4_prefix=24) == "192.0.2.0/24"
    assert ip_key("2001:db8:1:2::1", ipv6_prefix=48) == "2001:db8:1::/48"
    assert ip_key("2001:db8:1:2::1", ipv6_prefix=128) == "2001:db8:1:2::1"
    assert ip_key("255.255.255.255", ipv4_prefix=1) == "128.0.0.0/1"
    clients = ClientIP(["10.0.0.0/8"], ipv4_prefix=16, ipv6_prefix=32)
    assert clients.key_of(PROXY, ["2001:db8:1::1"]) == "2001:db8::/32"
    assert clients.key_of("192.0.2.1") == "192.0.0.0/16"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: ip_key("nobody"), ValueError, "ip must be an IPv4 or IPv6 address, got 'nobody'"),
        (lambda: ip_key("1.1.1.1", ipv4_prefix=33), ValueError, "ipv4_prefix must be >= 1 and <= 32 bits"),
        (lambda: ip_key("::1", ipv6_prefix=0), ValueError, "ipv6_prefix must be >= 1 and <= 128 bits, got 0"),
        (lambda: ip_key("::1", ipv6_prefix=64.0), TypeError, "ipv6_prefix must be an int, got float"),
        (lambda: ClientIP(["10.0.0.1/8"]), ValueError, "trusted_proxies must be networks .*host bits"),
        (lambda: ClientIP(["all"]), ValueError, "trusted_proxies must be networks such as .*, got 'all'"),
        (lambda: ClientIP([10]), TypeError, "trusted_proxies must be strings, got int"),
        (lambda: ClientIP(["::1"] * 1001), ValueError, "trusted_proxies must be at most 1000, got 1001"),
        (lambda: ClientIP(forwarded="via"), ValueError, "forwarded must be 'x-forwarded-for', .*, got 'via'"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(call, error, message):
    with pytest.raises(error, match=message) as raised:
        call()
    assert isinstance(raised.value, PenstockError)


def test_one_network_needs_no_list():
    assert client_ip("10.1.1.1", ["198.51.100.1"], trusted_proxies="10.0.0.0/8") == "198.51.100.1"


def test_addresses_that_are_remembered_are_bounded():
    clients = ClientIP()
    for number in range(10_000):
        clients.key_of(f"10.1.{number >> 8}.{number & 255}")
    assert clients._hop.cache_info().currsize <= 4096
