"""Headless Chromium against a real panel server on loopback."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.panels.conftest import runs  # noqa: F401 - the recorded runs are those of the panels

CHECKOUT = Path(__file__).resolve().parents[2]
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def free_port():
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def browser():
    """Debian's Chromium with a fresh profile."""
    path = shutil.which("chromium")
    if path is None:
        if os.environ.get("WORKBENCH_REQUIRE_SHARED_DATA"):
            pytest.fail("chromium is required here: apt-get install chromium")
        pytest.skip("needs chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def panels(home, runs):  # noqa: F811
    """The panels' server over the checkout's apps; gives the process and its address."""
    shutil.copytree(CHECKOUT / "apps", home / "apps")
    (home / "workbench.toml").touch()
    command = [
        sys.executable,
        "-m",
        "workbench.cli",
        "panels",
        "--no-browser",
        "--port",
        str(free_port()),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        text = ""
        # The address is told once the server listens there.
        while "token=" not in text:
            line = process.stdout.readline()
            assert line, text
            text += line
        yield process, re.search(r"http://\S+token=\S+", text).group()
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


@pytest.fixture
def page(browser):
    """A fresh page that remembers what it asked for and what went wrong in it."""
    context = browser.new_context(viewport={"width": 1500, "height": 950})
    page = context.new_page()
    page.asked, page.errors, page.sockets = [], [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("websocket", lambda socket: page.sockets.append(socket.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    context.close()
