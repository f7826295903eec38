"""Protects the validation explorer in a real browser: the verdict that a person sees, and why."""

from urllib.parse import urlsplit

import pytest

from tests.panels.conftest import verdicts  # noqa: F401 - those of the panels

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_verdicts_are_chosen_filtered_and_reached_from_the_other_panel(page, panels, verdicts):  # noqa: F811
    """VA-14: word, sentence, criteria, figure and trial count of the chosen verdict."""
    _, address = panels
    page.goto(address)
    page.get_by_role("link", name="Validation").click()
    page.wait_for_selector("tr.wb-row >> nth=2", timeout=60_000)
    card = page.locator("section.wb-verdict")
    assert card.locator(".word").inner_text() == "PASSED"

    page.locator(f"tr[data-key='{verdicts[0]}']").click()
    page.wait_for_selector("section.wb-verdict.refused")
    assert "37% of all worlds" in card.locator(".why").inner_text()
    assert card.locator("table.decides tr").count() == 5
    assert "✗ fails" in card.locator("tr.fail").first.inner_text()
    page.wait_for_selector(".wb-plot[data-drawn='2']")
    page.wait_for_selector(".wb-plot[data-drawn='1']")

    page.locator("select").first.select_option("Momentum<b>")
    page.wait_for_function("document.querySelectorAll('tr.wb-row').length === 1")
    page.get_by_text("no permit can rest on it").wait_for()
    assert {urlsplit(url).hostname for url in page.asked if url.startswith("http")} == {"127.0.0.1"}
    assert "wb.show" not in page.content()
    assert page.errors == []


def test_verdict_of_the_address_is_shown_first(page, panels, verdicts):  # noqa: F811
    _, address = panels
    page.goto(address.replace("runs.ipynb?", f"validation.ipynb?verdict_id={verdicts[1]}&"))
    page.wait_for_selector(f"tr[data-key='{verdicts[1]}'][aria-selected=true]", timeout=60_000)
