"""Protects ``workbench data``: what a person reads when data come in, and the exit codes."""

import pytest
from typer.testing import CliRunner

from workbench.cli import app
from workbench.core.config import load_config
from workbench.data import Lake, Series

HEADER = "time,open,high,low,close,volume\n"


def call(*words):
    return CliRunner().invoke(app, ["data", *words])


@pytest.fixture
def bars_file(home):
    rows = [f"2024-01-01T{k:02}:00:00Z,100,102,99,{100 + k % 3},5\n" for k in range(20)]
    path = home / "BTCUSDT-1h.csv"
    path.write_text(HEADER + "".join(rows))
    return path


def test_import_says_what_was_guessed_and_left_out(bars_file):
    done = call("import", str(bars_file))
    assert done.exit_code == 0
    assert "symbol BTCUSDT from the file name" in done.output.replace("\n", " ")
    assert "bar in" in done.output
    assert "bar_in_progress" in done.output
    assert len(Lake(load_config().lake_dir).read(Series("kline", "BTCUSDT", "60"))) == 19


def test_import_of_an_old_file_keeps_its_last_bar(bars_file):
    call("import", str(bars_file), "--as-of", "2024-02-01")
    assert len(Lake(load_config().lake_dir).read(Series("kline", "BTCUSDT", "60"))) == 20


def test_import_that_fails_says_what_to_give(home):
    path = home / "mine.csv"
    path.write_text(HEADER + "2024-01-01T00:00:00Z,1,1,1,1,1\n")
    done = call("import", str(path))
    assert done.exit_code == 1
    assert "--symbol" in done.stderr


def test_check_ends_with_one_on_errors_until_they_are_accepted(bars_file):
    text = bars_file.read_text().splitlines(keepends=True)
    text[5] = text[5].replace("102", "50")
    bars_file.write_text("".join(text))
    call("import", str(bars_file))
    assert call("check").exit_code == 1
    assert call("check", "BTCUSDT", "--accept", "inconsistent_bar").exit_code == 0
    assert call("check", "NONEUSDT").exit_code == 1


def test_list_and_sql_show_what_is_there(bars_file):
    assert "empty" in call("list").output
    call("import", str(bars_file))
    assert "BTCUSDT" in call("list").output
    assert "19" in call("sql", "SELECT COUNT(*) AS n FROM kline").output
    assert call("sql", "SELECT nothing FROM nowhere").exit_code == 1


def test_synth_is_labelled_and_kept_apart(home):
    done = call("synth", "BTCUSDT", "--bars", "100", "--seed", "3")
    assert "SYNTHETIC" in done.output
    venues = {series.venue for series in Lake(load_config().lake_dir).series()}
    assert venues == {"synthetic"}


def test_pull_without_the_exchange_ends_with_one(home, monkeypatch):
    monkeypatch.setenv("WORKBENCH_EXCHANGE__REST_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WORKBENCH_EXCHANGE__TIMEOUT_S", "1")
    monkeypatch.setattr("workbench.exchange.client.caller.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("workbench.exchange.client.caller.LAST_WAIT_S", 0.001)
    done = call("pull", "BTCUSDT")
    assert done.exit_code == 1
    assert "rest_url" in done.stderr


def test_pull_shows_its_progress_and_what_came(home, endpoint, monkeypatch):
    """DF-01: through the command, from the loopback exchange."""
    monkeypatch.setenv("WORKBENCH_EXCHANGE__REST_URL", endpoint)
    done = call("pull", "BTCUSDT", "--start", "2024-02-20", "--kinds", "kline,funding")
    assert done.exit_code == 0, done.output
    assert "new rows in 2 series" in done.output
