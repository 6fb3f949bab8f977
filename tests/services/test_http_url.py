"""Which texts are taken as addresses."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.services.http_url import InvalidUrl, checked_url


@given(st.text(max_size=30))
def test_any_text_is_a_url_with_a_host_or_refused(text):
    try:
        host = checked_url("http://" + text).raw_host
    except InvalidUrl:
        return
    assert host


def test_international_names_are_urls():
    assert checked_url("http://bücher.example/ü").raw_host == "xn--bcher-kva.example"
