"""Protects the risk panel: the newest report on record, how old it is, and what fills it."""

import subprocess
import sys
from datetime import timedelta

import pytest

from tests.risk.reported import document, make_report
from workbench.core.clock import SimulatedClock
from workbench.monitor.reports import read_reports, record_report
from workbench.panels import show
from workbench.panels.risk import RiskPanel, gauges_html
from workbench.risk.report import RiskReport
from workbench.store import Store

NOW = make_report().at.to_pydatetime() + timedelta(hours=3)


def open_panel(store, *, hours=0, **options):
    return RiskPanel(store=store, clock=SimulatedClock(NOW + timedelta(hours=hours)), **options)


@pytest.fixture
def store(home):
    """A store with the report of a flat book and, after it, that of one that holds something."""
    with Store.open(clock=SimulatedClock(NOW)) as store:
        record_report(store, make_report(is_flat=True), run_id=None)
        record_report(store, make_report(), run_id="20240101-1")
        yield store


def test_newest_report_is_shown_whole(store):
    panel = open_panel(store)
    assert "With a confidence of 95%" in panel.head.value
    assert "SYNTHETIC" in panel.head.value
    assert "By run 20240101-1." in panel.head.value
    assert "BTCUSDT" in panel.tables["positions"].value
    assert "maintenance margin" in panel.tables["liquidation"].value
    assert "worst week" in panel.tables["stress"].value
    drawn = {name: plot.figure["layout"]["title"]["text"] for name, plot in panel.plots.items()}
    assert all("SYNTHETIC" in title for title in drawn.values())
    assert "Value at risk at 95%" in drawn["tails"]


def test_gauge_says_by_word_and_width_what_is_taken(store):
    """A limit that is reached is full, and named as over it."""
    panel = open_panel(store)
    rows = panel.gauges.value.split('<div class="wb-gauge ')[1:]
    table = make_report().tables["limits"]
    assert len(rows) == len(table)
    reached = [row for row in rows if row.startswith("wb-over")]
    assert len(reached) == (table["use"] >= 1).sum() > 0
    assert all("width:100.0%" in row and "% over</b>" in row for row in reached)
    within = next(row for row in rows if 'aria-label="net exposure"' in row)
    assert f"width:{100 * table.loc['net exposure', 'use']:.1f}%" in within


def test_older_report_is_chosen_and_kept_through_a_refresh(store):
    panel = open_panel(store)
    older = panel.choice.options[1][1]
    panel.choice.value = older
    assert "The book is flat" in panel.head.value
    assert "Outside of a recorded run." in panel.head.value
    assert panel.plots["tails"].figure == {}
    record_report(store, make_report(), run_id=None)
    panel.refresh.click()
    assert len(panel.choice.options) == 3
    assert panel.choice.value == older


def test_report_of_the_address_is_chosen_first(store):
    older = read_reports(store)[1].number
    assert "The book is flat" in open_panel(store, report_id=str(older)).head.value


@pytest.mark.parametrize(
    ("hours", "said", "is_old"), [(0, "3 h ago", False), (24, "27 h ago", True)]
)
def test_age_of_the_numbers_is_told_and_loud_when_a_day_was_missed(store, hours, said, is_old):
    head = open_panel(store, hours=hours).head.value
    assert said in head
    assert ("OLD" in head) == is_old


def test_each_matrix_is_drawn_on_demand(store):
    panel = open_panel(store)
    names = {value: label for label, value in panel.matrix.options}
    assert list(names) == ["pearson", "tail", "dcc", "shift"]
    for name in names:
        panel.matrix.value = name
        assert names[name].split(":")[0] in panel.plots["matrix"].figure["layout"]["title"]["text"]


def test_text_of_a_report_is_escaped(store):
    told = document()
    hurt = RiskReport.from_document({**told, "notes": ["<script>x</script>"], "mode": "<b>"})
    record_report(store, hurt, run_id=None)
    head = open_panel(store).head.value
    assert "<script>" not in head
    assert "&lt;b&gt;" in head


def test_report_without_limits_has_no_gauges():
    told = document()
    tables = {name: table for name, table in told["tables"].items() if name != "limits"}
    bare = RiskReport.from_document({**told, "tables": tables})
    assert "No limits were given" in gauges_html(bare)
    assert "No limits were given" in bare.paragraph


def test_empty_store_says_which_command_fills_it(home):
    panel = show("risk")
    assert "workbench run notebooks/reports/10_daily_risk.ipynb" in str(
        panel.children[1].children[0].children[1].value
    )


def test_panel_keeps_its_kernel_light():
    """A person waits for every library that the kernel of a panel loads."""
    heavy = [
        "arch",
        "nbformat",
        "numba",
        "polars",
        "scipy",
        "skfolio",
        "sklearn",
        "statsmodels",
        "vectorbt",
    ]
    code = (
        "import sys, workbench.panels.risk as panel\npanel.figures.matrix\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "[]"
