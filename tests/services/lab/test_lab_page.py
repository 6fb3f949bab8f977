"""A comparison as a table and as a page."""

import json
import re
import xml.etree.ElementTree as ET

import pytest
from msgspec import structs
from rich.console import Console

from penstock.services.lab.comparison import Comparison
from penstock.services.lab.config import Behaviour
from penstock.services.lab.measured import Cost, Latencies, Measured, Request, Slice
from penstock.services.lab.page import page
from penstock.services.lab.patterns import PATTERNS, Settings
from penstock.services.lab.table import counted, markdown, notes, table


def measured(pattern, scale=1.0, outcomes=None):
    figures = Latencies(
        mean=5 * scale, p50=4 * scale, p90=8 * scale, p99=9 * scale, p999=10 * scale, max=11 * scale
    )
    return Measured(
        pattern=pattern,
        engine="socket",
        requests=1_000_000,
        seconds=100 * scale,
        good=900_000,
        outcomes=outcomes or {"200": 900_000, "503": 100_000},
        latency=figures,
        service=figures,
        percentiles=[(0, 1.0), (0.9, 8 * scale), (1.0, 11 * scale)],
        peak_in_flight=1_000_000,
        mean_in_flight=999.9,
        cost=Cost(2**34, 2**30, 99_999_999, [10_000, 100, 10], 99.9, 1234.5),
        slices=[Slice(n / 10, n, n, n // 10, n or None, 2.0 * n or None) for n in range(200)],
        first=[Request(0, 1, "200"), Request(0, 2, "503")],
    )


@pytest.fixture
def comparison():
    return Comparison(
        Settings(requests=1_000_000),
        Behaviour(),
        [measured(name, scale) for scale, name in enumerate(PATTERNS, 1)],
    )


def shown(comparison):
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(table(comparison))
    return captured.get()


def test_table_fits_80_columns_also_with_large_figures(comparison):
    lines = shown(comparison).splitlines()
    assert max(map(len, lines)) <= 80
    (row,) = (line for line in lines if re.match(r"backpressure +\d+\.\d\d ", line))
    assert row.split() == [
        "backpressure", "400.00", "2,250", "20", "16", "36", "10.0", "1,000,000", "16,384", "1234.50",
    ]  # fmt: skip


def test_notes_say_what_the_figures_stand_on(comparison):
    said = " ".join(notes(comparison))
    for word in (
        "1,000,000 requests each",
        "15 workers",
        "500/s",
        "engine socket",
        "seed 1",
        "5,000 requests/s",
    ):
        assert word in said
    comparison.behaviour = None
    assert notes(comparison)[-1] == "The server was yours."


def test_notes_say_what_errors_nobody_can_avoid_and_who_was_told_a_rate(comparison):
    said = " ".join(notes(comparison))
    assert "1 % of the requests fail in any case, more with over 10 in flight." in said
    assert "Rate-limited was told its rate; backpressure finds out" in said
    comparison.behaviour = Behaviour(error_rate=0.0, overload=0)
    comparison.measured = comparison.measured[:5]
    assert notes(comparison)[-1] == "0 % of the requests fail in any case."


@pytest.mark.parametrize("overload", [0, 10, 1_000_000])
def test_notes_are_lines_of_80_characters(comparison, overload):
    comparison.behaviour = Behaviour(error_rate=0.123456, overload=overload)
    assert max(map(len, notes(comparison))) <= 80


def test_where_nothing_was_answered_there_is_no_latency(comparison):
    none = Latencies(mean=0, p50=0, p90=0, p99=0, p999=0, max=0)
    dead = structs.replace(measured("bounded"), good=0, latency=none, service=none, percentiles=[])
    comparison.measured = [dead]
    cells = [[cell.strip() for cell in row.split("|")] for row in markdown(comparison).splitlines()[:3]]
    row = dict(zip(cells[0], cells[2], strict=True))
    assert {row[name] for name in ("mean, ms", "p50, ms", "p99, ms", "p99.9, ms", "server, p99 ms")} == {"-"}
    assert "backpressure" not in page(comparison)


def test_rare_ones_of_many_outcomes_are_counted_together(comparison):
    odd = measured("bounded", outcomes={str(status): status for status in range(200, 300)})
    assert counted(odd).startswith("299: 299, 298: 298, ")
    assert counted(odd).endswith(f"289: 289, 89 others: {sum(range(200, 289)):,}")
    assert counted(measured("bounded", outcomes={"200": 1, "503": 2})) == "503: 2, 200: 1"


def test_json_holds_settings_server_machine_and_every_pattern(comparison):
    members = json.loads(comparison.as_json())
    assert (members["settings"]["workers"], members["server"]["max_latency"]) == (15, 0.3)
    assert set(members["machine"]) == {"python", "system", "cores", "loop"}
    assert [each["pattern"] for each in members["patterns"]] == list(PATTERNS)
    first = members["patterns"][0]
    assert (first["errors"], first["goodput"], first["latency"]["p99"]) == (100_000, 9000, 9)
    assert first["first"][0] == [0, 1, "200"]


def test_markdown_has_a_row_for_each_pattern_with_as_many_cells_as_the_head(comparison):
    lines = markdown(comparison).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(PATTERNS)
    assert {row.count("|") for row in rows} == {17}
    assert "- bounded: 200: 900,000, 503: 100,000" in lines


def test_page_is_well_formed_and_has_plots_for_every_pattern(comparison):
    html = page(comparison)
    body = html[html.index("<body>") : html.index("</html>")].replace("<br>", "<br/>").replace("&nbsp;", " ")
    root = ET.fromstring(body)
    svg = list(root.iter("{http://www.w3.org/2000/svg}svg"))
    assert len(svg) == 6 + 4 * len(PATTERNS)
    assert [heading.text for heading in root.iter("h2")] == list(PATTERNS)
    assert ">no data<" not in html


def test_page_needs_nothing_from_elsewhere(comparison):
    html = page(comparison).replace("http://www.w3.org/2000/svg", "")
    for word in ("<script", "http:", "https:", "url(", "@import", "<link", "src="):
        assert word not in html


def test_outcomes_of_strangers_are_text(comparison):
    comparison.measured = [measured("<b>", outcomes={"<script>": 1})]
    html = page(comparison)
    assert "<script" not in html
    assert "<b>" not in html


def test_nothing_measured_is_a_page_all_the_same():
    html = page(Comparison(Settings(), Behaviour()))
    assert html.count(">no data<") == 6
