"""Which encoding a page is in, as browsers tell it, and its text in UTF-8."""

import codecs
import re

try:
    import webencodings
except ImportError as missing:  # pragma: no cover - the tests run with it
    raise ImportError(
        "the scraper needs ada-url, protego, selectolax and webencodings: pip install 'penstock[scrape]'"
    ) from missing

__all__ = ["PRESCAN_BYTES", "as_utf8", "encoding_of"]

PRESCAN_BYTES = 4096
"""Bytes at the beginning in which a meta element may name the encoding. Browsers look ahead for 1024, and
begin again when they meet one later; this looks once, and further."""

FALLBACK = "windows-1252"

BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16le"), (b"\xfe\xff", "utf-16be"))


def as_utf8(body: bytes, content_type: str) -> tuple[bytes, str]:
    """The text of a page in UTF-8, and the name of the encoding that it was in.

    What is no character in that encoding becomes U+FFFD; a page in UTF-8 comes back as it is, so that most
    pages are not copied, and the parser does the same to it.

    Args:
        body: at most as much as anybody wants to hold several times.
        content_type: the header, parameters included; empty without one.
    """
    name = encoding_of(body, content_type)
    mark = next((mark for mark, _ in BYTE_ORDER_MARKS if body.startswith(mark)), b"")
    body = body[len(mark) :]
    if name == "utf-8":
        return body, name
    encoding = webencodings.lookup(name)
    assert encoding is not None  # it was looked up before
    text: str = encoding.codec_info.decode(body, "replace")[0]
    return text.encode("utf-8", "replace"), name  # replace: UTF-7 and its like can yield lone surrogates


def encoding_of(body: bytes, content_type: str) -> str:
    """The name of the encoding of a page, as the Encoding Standard spells it.

    A byte order mark goes first, then the charset of the header, then that of a meta element. Without any
    of these it is UTF-8 where the whole body is, else windows-1252.

    Source: HTML Living Standard, 13.2.3.2, Determining the character encoding.
    """
    for mark, name in BYTE_ORDER_MARKS:
        if body.startswith(mark):
            return name
    label = charset_of(content_type)
    named = known(label) if label else None
    return named or prescan(body) or (FALLBACK if not is_utf8(body) else "utf-8")


CHARSET = re.compile(
    r"""charset[\t\n\f\r ]*=[\t\n\f\r ]*(?:"([^"]*)"|'([^']*)'|([^\t\n\f\r ;"'][^\t\n\f\r ;]*))""",
    re.IGNORECASE,
)


def charset_of(text: str) -> str:
    """What a Content-Type, or the content of a meta element, says after `charset=`; empty for nothing."""
    found = CHARSET.search(text)
    return "" if found is None else (found[1] or found[2] or found[3] or "")


def known(label: str) -> str | None:
    """The encoding that a label means; None for one that is none."""
    if not label.isascii():  # the standard's table is; lookup() would ask for lower case of surrogates
        return None
    encoding = webencodings.lookup(label)
    return None if encoding is None else str(encoding.name)


def is_utf8(body: bytes) -> bool:
    try:
        codecs.utf_8_decode(body, "strict", False)  # False: a body that was cut may end within a character
    except UnicodeDecodeError:
        return False
    return True


MARKUP = re.compile(rb"<(?:(!--)|(meta)(?=[\t\n\f\r /])|/?[a-z][^\t\n\f\r >]*+|([!/?]))", re.IGNORECASE)

ATTRIBUTE = re.compile(
    rb"[\t\n\f\r /]*+"
    rb"(=?[^\t\n\f\r /=>]*+)"  # its name, which may begin with an equals sign
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb"""(?:"([^"]*+)"|'([^']*+)'|((?!["'])[^\t\n\f\r >]*+)))?+"""
)


def prescan(body: bytes) -> str | None:
    """The encoding that a meta element at the beginning names; None without one.

    Source: HTML Living Standard, 13.2.3.2, Prescan a byte stream to determine its encoding.
    """
    head, at = body[:PRESCAN_BYTES], 0
    while markup := MARKUP.search(head, at):
        at = markup.end()
        if markup[1]:
            at = end_of(head, b"-->", at - 2)
        elif markup[3]:
            at = end_of(head, b">", at)
        else:
            attributes, at = attributes_at(head, at)
            named = encoding_in(attributes) if markup[2] else None
            if named:
                return named
    return None


def end_of(head: bytes, sign: bytes, at: int) -> int:
    found = head.find(sign, at)
    return len(head) if found < 0 else found + len(sign)


def attributes_at(head: bytes, at: int) -> tuple[dict[str, str], int]:
    """The attributes of the tag that goes on at `at`, the first of each name, and where they end.

    Of a tag that does not end within the bytes that are looked at there are none.
    """
    attributes: dict[str, str] = {}
    while (found := ATTRIBUTE.match(head, at)) and found[1]:
        if found.end() == len(head):
            return {}, len(head)
        value = found[2] or found[3] or found[4] or b""
        attributes.setdefault(found[1].decode("latin-1").lower(), value.decode("latin-1"))
        at = found.end()
    return attributes, at


def encoding_in(meta: dict[str, str]) -> str | None:
    """The encoding that a meta element with these attributes names; None for none."""
    label = meta.get("charset")
    if label is None and meta.get("http-equiv", "").lower() == "content-type":
        label = charset_of(meta.get("content", ""))
    named = known(label) if label else None
    # a page that can be read as ASCII up to here is in neither of these two
    return {"utf-16le": "utf-8", "utf-16be": "utf-8", "x-user-defined": FALLBACK}.get(named or "", named)
