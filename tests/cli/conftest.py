"""Consoles whose width is what the test asks for."""

import pytest

from workbench.cli.terminal import err, out


@pytest.fixture(autouse=True)
def _width_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    # A console made while COLUMNS is set, as it is in a worker of xdist, keeps that width for good.
    monkeypatch.setattr(out, "_width", None)
    monkeypatch.setattr(err, "_width", None)
