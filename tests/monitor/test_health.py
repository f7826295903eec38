"""Every check can be made to fail, and says what to do when it does (MO-02)."""

import json
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path

import pytest

from workbench.core.clock import SimulatedClock
from workbench.core.config import StoreSettings, load_config
from workbench.core.errors import ExchangeError
from workbench.monitor import health
from workbench.store import Store
from workbench.store.engine import make_engine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class SteppingServer:
    """An exchange whose answers take a second and whose time is off by a given amount."""

    def __init__(self, clock, offset=timedelta(0), answer=timedelta(seconds=1)):
        self.clock, self.offset, self.answer = clock, offset, answer

    def server_time(self):
        half = self.answer.total_seconds() / 2
        self.clock.sleep(half)
        there = self.clock.now() + self.offset
        self.clock.sleep(half)
        return there


class DeadServer:
    def server_time(self):
        raise ExchangeError("The exchange does not answer.", "Look at the network.")


def test_examine_a_sound_setup_is_green_throughout(home):
    clock = SimulatedClock(NOON)
    checks = list(health.examine(load_config(), root=home, server=SteppingServer(clock)))
    names = ["Python", "packages", "lock", "kernel", "disk", "store", "clock", "exchange"]
    assert [check.name for check in checks] == names
    not_green = [check for check in checks[:6] if check.level != "green"]
    assert not [check for check in not_green if check.name != "disk"]


def test_examine_without_an_exchange_warns_a_researcher_and_stops_a_trader(home):
    config = load_config()
    assert [c.level for c in health.examine(config, root=home, server=DeadServer())][-1] == "yellow"
    paper = load_config(profile="paper")
    last = list(health.examine(paper, root=home, server=DeadServer()))[-1]
    assert (last.level, last.seen) == ("red", "The exchange does not answer.")
    assert last.fix == "Look at the network."


@pytest.mark.parametrize(("version", "level"), [((3, 10, 9), "red"), ((3, 11, 0), "green")])
def test_check_python_wants_a_new_enough_one(version, level):
    assert health.check_python(version).level == level


def test_check_packages_names_what_is_missing_or_old(monkeypatch):
    needs = ["typer>=0.16", "pandas>=99", "no-such-thing>=1", "extra-thing; extra == 'x'"]
    monkeypatch.setattr(metadata, "requires", lambda _: needs)
    check = health.check_packages()
    assert check.level == "red"
    assert check.seen.startswith("pandas ")
    assert "no-such-thing is not installed (needs >=1)" in check.seen
    assert "extra-thing" not in check.seen


def test_check_packages_of_a_package_that_is_not_installed_is_red():
    assert health.check_packages("no-such-thing").level == "red"


def test_check_lock_compares_only_what_is_installed_and_applies_here(tmp_path):
    typer = metadata.version("typer")
    other = "python_full_version < '3.0'"
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        f"# a comment\ntyper=={typer} \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
        f"pandas==0.1 ; {other} \\\n    --hash=sha256:22\nno-such-thing==1\n"
    )
    check = health.check_lock(lock)
    assert (check.level, check.seen) == ("green", "1 installed packages as locked")
    lock.write_text(lock.read_text() + "rich==0.0.1 --hash=sha256:33\n")
    check = health.check_lock(lock)
    assert check.level == "yellow"
    assert check.seen.startswith("1 of 2 differ: rich")


def test_check_lock_without_one_has_nothing_to_say(tmp_path):
    assert health.check_lock(tmp_path / "requirements.lock").level == "green"


@pytest.fixture
def kernels(tmp_path, monkeypatch) -> Path:
    """A folder of kernels that comes before all others."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    return tmp_path / "kernels"


def add_kernel(kernels: Path, program: str) -> None:
    place = kernels / "mine"
    place.mkdir(parents=True)
    spec = {"argv": [program, "-m", "ipykernel_launcher"], "display_name": "M", "language": "p"}
    (place / "kernel.json").write_text(json.dumps(spec))


@pytest.mark.parametrize(
    ("program", "level"),
    [(sys.executable, "green"), ("python", "green"), ("/gone/bin/python", "red")],
)
def test_check_kernel_wants_this_python(kernels, program, level):
    add_kernel(kernels, program)
    check = health.check_kernel("mine")
    assert check.level == level
    assert (level == "green") or f"{sys.executable} -m ipykernel install" in check.fix


def test_check_kernel_that_is_absent_is_red():
    assert health.check_kernel("no-such-kernel").level == "red"


def test_check_kernel_without_jupyter_warns(monkeypatch):
    monkeypatch.setitem(sys.modules, "jupyter_client.kernelspec", None)
    check = health.check_kernel()
    assert (check.level, "workbench[research]" in check.fix) == ("yellow", True)


@pytest.mark.parametrize(("free_gb", "level"), [(50, "green"), (5, "yellow"), (0.5, "red")])
def test_check_disk_by_free_room(tmp_path, free_gb, level):
    check = health.check_disk(tmp_path / "not/yet/made", free=lambda _: free_gb * 1e9)
    assert check.level == level
    assert str(tmp_path) in check.seen


def test_check_disk_where_a_file_stands_in_the_way_is_red(tmp_path):
    (tmp_path / "data").write_text("")
    assert health.check_disk(tmp_path / "data").level == "red"


def test_check_store_through_its_life(tmp_path):
    settings = StoreSettings(url=f"sqlite:///{tmp_path / 'x.db'}")
    assert health.check_store(settings).seen.endswith("made at first use")
    assert not (tmp_path / "x.db").exists()
    Store.open(settings.url).close()
    assert health.check_store(settings).level == "green"
    engine = make_engine(settings.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    engine.dispose()
    check = health.check_store(settings)
    assert (check.level, "db upgrade" in check.fix) == ("red", True)


def test_check_store_that_is_no_database_is_red(tmp_path):
    (tmp_path / "x.db").write_bytes(b"x" * 5000)
    assert health.check_store(StoreSettings(url=f"sqlite:///{tmp_path / 'x.db'}")).level == "red"


@pytest.mark.parametrize(
    ("offset_ms", "level", "way"),
    [
        (0, "green", "0 ms"),
        (700, "green", "700 ms behind"),
        (-800, "yellow", "800 ms ahead of"),
        (2000, "red", "2,000 ms behind"),
        (-2000, "red", "2,000 ms ahead of"),
    ],
)
def test_check_exchange_measures_the_clock_to_within_half_the_answer(offset_ms, level, way):
    clock = SimulatedClock(NOON)
    server = SteppingServer(clock, timedelta(milliseconds=offset_ms))
    drift, reach = health.check_exchange(server, is_needed=True, clock=clock)
    assert (drift.level, reach.level) == (level, "green")
    assert way in drift.seen
    assert "within 500 ms" in drift.seen
    assert reach.seen == "answered in 1,000 ms"
