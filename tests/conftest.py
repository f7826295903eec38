"""What every test shares: the place of the shared data and a project folder of its own."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.loopback.fixtures"]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data; the test skips where it is absent."""
    checkout = Path(__file__).resolve().parents[1]
    place = Path(os.environ.get("WORKBENCH_SHARED_DATA", checkout.parent / "shared" / "data"))
    if not place.is_dir():
        if os.environ.get("WORKBENCH_REQUIRE_SHARED_DATA"):
            pytest.fail(f"{place} is required here and absent")
        pytest.skip(f"needs the shared market data at {place} (WORKBENCH_SHARED_DATA)")
    return place


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh project folder: the working directory, with its own data folder."""
    for name in list(os.environ):
        if name.startswith("WORKBENCH_") and "SHARED_DATA" not in name:
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_DATA_DIR", str(tmp_path / "data"))
    return tmp_path
