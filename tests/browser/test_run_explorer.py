"""Protects the run explorer in a real browser: what a person sees, and who may see it."""

import re
from urllib.parse import urlsplit

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def opened(page, panels):
    _, address = panels
    page.goto(address)
    page.wait_for_selector("tr.wb-row", timeout=60_000)
    page.wait_for_selector(".wb-plot[data-drawn]", timeout=30_000)
    return page


def test_run_is_chosen_and_compared(opened):
    opened.locator("tr.wb-row", has_text="crossover").click()
    opened.wait_for_selector("tr.wb-row[aria-selected=true]:has-text('crossover')")
    measures = opened.locator(".wb-card", has=opened.get_by_role("heading", name="Measures"))
    measures.get_by_text("Sharpe ratio").wait_for()
    assert "SYNTHETIC" in opened.locator(".wb-mark").inner_text()
    beside = opened.locator("select").nth(1)
    beside.select_option(index=1)
    measures.get_by_text("difference").wait_for()
    opened.wait_for_selector(".wb-plot[data-drawn='2']")


def test_list_is_filtered_and_sorted(opened):
    opened.locator(".wb-filter").fill("momentum")
    opened.wait_for_function("document.querySelectorAll('tr.wb-row').length === 1")
    opened.locator(".wb-filter").fill("")
    opened.get_by_text("Sharpe", exact=True).click()
    opened.wait_for_function(
        "document.querySelector('tr.wb-row').textContent.includes('crossover')"
    )
    opened.get_by_text(re.compile("Sharpe ↓")).click()
    opened.wait_for_function("document.querySelector('tr.wb-row').textContent.includes('momentum')")


def test_page_asks_nobody_else_and_shows_no_source(opened):
    hosts = {urlsplit(url).hostname for url in opened.asked if url.startswith("http")}
    assert hosts == {"127.0.0.1"}
    text = opened.content()
    assert "wb.show" not in text
    assert "secret_source" not in text
    assert opened.errors == []


def test_without_the_token_nothing_is_shown(page, panels):
    _, address = panels
    page.goto(address.split("?")[0])
    page.wait_for_selector("input[type=password]")
    assert "Run explorer" not in page.content()
    base = "{0.scheme}://{0.netloc}".format(urlsplit(address))
    reply = page.request.get(f"{base}/voila/render/runs.ipynb", max_redirects=0)
    assert reply.status in (302, 403)


def test_login_form_takes_the_token_and_nothing_else(page, panels):
    _, address = panels
    page.goto(address.split("?")[0])
    page.fill("input[type=password]", "not the token, though as long")
    page.keyboard.press("Enter")
    page.get_by_text("This is not the token.").wait_for()
    page.fill("input[type=password]", address.split("token=")[1])
    page.keyboard.press("Enter")
    page.wait_for_selector("tr.wb-row", timeout=60_000)
    assert {urlsplit(url).hostname for url in page.asked if url.startswith("http")} == {"127.0.0.1"}


def test_closing_the_page_leaves_no_kernel(opened, panels):
    _, address = panels
    base = "{0.scheme}://{0.netloc}".format(urlsplit(address))
    kernel = next(re.search(r"/api/kernels/([0-9a-f-]+)/", u) for u in opened.sockets).group(1)
    token = address.split("token=")[1]
    context = opened.context
    other = context.new_page()
    opened.close(run_before_unload=True)
    for _ in range(100):
        reply = other.request.get(f"{base}/api/kernels/{kernel}?token={token}")
        if reply.status == 404:
            break
        other.wait_for_timeout(100)
    assert reply.status == 404


def test_dead_kernel_covers_the_page(opened, panels):
    process, _ = panels
    import psutil

    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    opened.wait_for_selector(".wb-dead", timeout=20_000)
    assert "lost its kernel" in opened.locator(".wb-dead").inner_text()
