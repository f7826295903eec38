"""Protects the risk panel in a real browser: what is risked, against which limits, on a phone."""

from urllib.parse import urlsplit

import pytest

from tests.risk.reported import make_report
from workbench.monitor.reports import record_report
from workbench.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_newest_report_is_reached_chosen_and_fits_a_phone(page, panels):
    """RK-20: figures are drawn, limits that are reached stand out, and nothing asks outside."""
    with Store.open() as store:
        record_report(store, make_report(is_flat=True), run_id=None)
        record_report(store, make_report(), run_id=None)
    _, address = panels
    page.goto(address)
    page.get_by_role("link", name="Risk", exact=True).click()
    page.wait_for_selector(".wb-gauge.wb-over", timeout=60_000)
    assert "With a confidence of 95%" in page.locator("p.wb-risk").inner_text()
    assert page.locator(".wb-age .wb-mark").inner_text() == "OLD"
    drawn = "document.querySelectorAll('.wb-plot[data-drawn]').length"
    page.wait_for_function(f"{drawn} === 4")

    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("document.documentElement.scrollWidth <= 390")
    page.locator("select").first.select_option(index=1)
    page.get_by_text("The book is flat").wait_for()
    page.wait_for_function(f"{drawn} === 3")
    assert {urlsplit(url).hostname for url in page.asked if url.startswith("http")} == {"127.0.0.1"}
    assert "wb.show" not in page.content()
    assert page.errors == []
