"""A page that is made to hold up its reader is read in part, and every other one whole."""

import tarfile

import pytest

from datasets import require
from penstock.services.scraper.extract import extract
from penstock.services.scraper.tree_cost import affordable

SIZE = 1_000_000

HOSTILE = {
    "nested blocks": b"<div>" * (SIZE // 5),
    "nested lists": b"<ul><li>" * (SIZE // 8),
    "nested elements of a drawing": b"<svg>" + b"<g>" * (SIZE // 3),
    "end tags that close nothing": b"<div></span></p></x>" * (SIZE // 20),
    "end tags that a table keeps from closing": b"<div><table><td></div>" * (SIZE // 22),
    "attributes without end": b"<a " + b"".join(b"a%d=1 " % n for n in range(100_000)) + b">",
    "quotes that never end": b"<a ='" * (SIZE // 5),
    "attributes given to html again and again": b"".join(b"<html a%d=1>" % n for n in range(90_000)),
    "formatting that is brought back": b"<p>"
    + b"".join(b"<b a%d>" % n for n in range(1_000))
    + b"</p>"
    + b"<p>x" * (SIZE // 4),
    "blocks within a style that is none": b"<svg><style>" + b"<div>" * (SIZE // 5),
    "annotations without what they are of": b"<rt>" * (SIZE // 4),
    "groups of options without a list": b"<optgroup>" * (SIZE // 10),
    "a list of options": b"<select>" + b"<option>" * (SIZE // 8),
    "lists within templates of a list": b"<select>"
    + b"<template><select></select></template><option>" * 30_000,
    "blocks that outlive formatting": b"<b><div></b>" * (SIZE // 12),
    "blocks that outlive a form": b"<form><div></form>" * (SIZE // 18),
    "blocks that outlive a body": b"<body><div></body>" * (SIZE // 18),
    "blocks within a list of options": b"<div><select></div></select>" * (SIZE // 28),
    "blocks within spans": b"<span><div></span>" * (SIZE // 18),
    "paragraphs within spans": b"<span><p></span></p>" * (SIZE // 20),
    "blocks that end a drawing": b"<svg><div></svg>" * (SIZE // 16),
    "blocks after a script after a drawing": b"<svg/><script>'<!--'</script>" + b"<div>" * (SIZE // 5),
    "blocks after a comment that is text of a drawing": b"<svg><![CDATA[><!--]]></svg>"
    + b"<div>" * (SIZE // 5),
    "names without end": b"".join(b"<p a%d>" % n for n in range(SIZE // 8)),
}

HARMLESS = {
    "flat": b"<div><p>x</p></div>" * (SIZE // 19),
    "paragraphs that end of themselves": b"<p>x<br><img src=x>" * (SIZE // 19),
    "items and cells that end of themselves": b"<ul>"
    + b"<li>x" * 10_000
    + b"</ul><table>"
    + b"<tr><td>x" * 50_000,
    "markup in a script": b"<script>" + b"'<div>'" * (SIZE // 7) + b"</script>",
    "markup in a comment": b"<!--" + b"<div>" * (SIZE // 5) + b"-->",
    "markup in an attribute": b"<p title='" + b"<div>" * (SIZE // 5) + b"'>",
    "a long attribute": b"<img src='data:image/png;base64," + b"A" * SIZE + b"'>",
    "tags that never end": b"<a" * (SIZE // 2),
    "signs": b"<" * SIZE,
    "a table of a million tags": b"<table>" + b"<tr><td>1</td></tr>" * 250_000,
    "a drawing of many lines": b"<svg>" + b"<path d='M 0 0'/>" * 10_000 + b"</svg>" + b"<p>x</p>" * 10_000,
    "scripts after drawings": b"<svg><g></g></svg><script>'<!-- <div>'</script>" * 10_000,
    "annotations": b"<p>" + b"<ruby>x<rp>(</rp><rt>y</rt><rp>)</rp></ruby>" * 10_000,
    "many short lists of options": (b"<select>" + b"<option>x" * 200 + b"</select>") * 500,
    "formatting that is closed crosswise": b"<p><b><i>x</b></i></p>" * 10_000,
    "small": b"<div>" * 300,
}


@pytest.mark.parametrize("page", HOSTILE.values(), ids=HOSTILE)
def test_hostile_page_is_cut(page):
    kept = affordable(page)
    assert page.startswith(kept)
    assert 100 < len(kept) < len(page) / 2 or page.startswith(b"<a ")
    assert (
        extract(page, "text/html", "http://x/", {}).encoding == "utf-8"
    )  # soon: else the suite would take minutes


@pytest.mark.parametrize("page", HARMLESS.values(), ids=HARMLESS)
def test_harmless_page_is_whole(page):
    assert affordable(page) is page or affordable(page) == page


def test_small_page_that_would_make_a_quarter_of_a_million_nodes_is_cut():
    page = b"<p>" + b"".join(b"<b a%d>" % n for n in range(500)) + b"</p>" + b"<p>x</p>" * 500
    assert len(affordable(page)) < len(page) < 8_192


def test_links_before_the_cut_are_found():
    page = b"<title>t</title><a href=/first>x</a>" + b"<div>" * (SIZE // 5) + b"<a href=/last>x</a>"
    found = extract(page, "text/html", "http://x/", {})
    assert (found.title, found.links) == ("t", ["/first"])


@pytest.mark.data
def test_no_real_page_is_cut():
    with tarfile.open(require("html/readability_source.tar.xz")) as archive:
        pages = [archive.extractfile(member).read() for member in archive if member.name.endswith(".html")]
    assert len(pages) == 129
    assert all(affordable(page) == page for page in pages)
