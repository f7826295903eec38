"""Protects the demo's honesty: what it runs on, what it says, and that it always ends."""

import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pandas as pd
import pytest

from workbench.core.config import load_config
from workbench.core.errors import ExchangeError, JobError
from workbench.data import load, synthesise
from workbench.jobs.demo import (
    SEED,
    SYMBOLS,
    choose_source,
    judge,
    pull_simulated,
    reaches,
    run_demo,
)

NOW = datetime(2026, 6, 1, 12, 30, tzinfo=UTC)
MEASURES = {
    "strategy.sharpe": 0.5,
    "buy_and_hold.sharpe": 1.0,
    "sweep.configurations": 42,
    "sweep.share_above_zero": 0.25,
}


@pytest.fixture
def endpoint():
    """A loopback endpoint that tells the time as the exchange does; yields url and its answers."""
    answers = {"/v5/market/time": b'{"retCode": 0, "time": 1}'}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answers[self.path])

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", answers
        server.shutdown()
        thread.join()


def test_reaches_endpoint_that_tells_the_time(endpoint):
    assert reaches(endpoint[0])


@pytest.mark.parametrize("body", [b"<html>login</html>", b'{"retCode": 10006}', b"[]"])
def test_reaches_something_else_at_the_address_is_no(endpoint, body):
    endpoint[1]["/v5/market/time"] = body

    assert not reaches(endpoint[0])


def test_reaches_closed_port_is_no():
    assert not reaches("http://127.0.0.1:9", timeout_s=1)


def test_choose_source_reachable_pulls_a_year(home):
    pulled = []

    source = choose_source(load_config(), pull=pulled.append, is_reachable=lambda _: True, now=NOW)

    assert pulled == [datetime(2025, 6, 1, tzinfo=UTC)]
    assert source.params == {"SOURCE": "lake", "START": "2025-06-01"}
    assert not source.is_synthetic


def test_choose_source_unreachable_never_pulls_and_says_why(home):
    source = choose_source(load_config(), pull=pytest.fail, is_reachable=lambda _: False, now=NOW)

    assert source.is_synthetic
    assert "cannot be reached" in source.reason


def test_choose_source_broken_download_falls_back_and_says_why(home):
    def pull(_: datetime) -> None:
        raise ExchangeError("It closed the door.", "Wait.")

    source = choose_source(load_config(), pull=pull, is_reachable=lambda _: True, now=NOW)

    assert source.is_synthetic
    assert "It closed the door." in source.reason


def test_judge_counts_trials_and_promises_nothing():
    said = judge(MEASURES, n_trials=57)

    assert "0.50 is not above buy-and-hold's 1.00" in said
    assert "25% of 42 configurations" in said
    assert "No evidence yet: 57 trials" in said


def test_judge_better_than_holding_is_still_no_evidence():
    said = judge(MEASURES | {"strategy.sharpe": 2.0}, n_trials=1)

    assert "2.00 is above" in said
    assert "no gate has been passed" in said


def test_judge_missing_measure_is_said():
    assert "could not be computed" in judge({"strategy.sharpe": None}, n_trials=1)


def test_run_demo_outside_a_checkout_says_so(home):
    source = choose_source(load_config(), pull=pytest.fail, is_reachable=lambda _: False)

    with pytest.raises(JobError, match="inside a checkout"):
        run_demo(source)


def test_choose_source_unreachable_takes_the_simulated_exchange_and_says_so(home):
    called = []
    source = choose_source(
        load_config(), pull=pytest.fail, simulate=lambda: called.append(1),
        is_reachable=lambda _: False, now=NOW,
    )  # fmt: skip
    assert called == [1]
    assert source.is_synthetic
    assert source.params["SOURCE"] == "lake:simulator"
    assert "simulated exchange" in source.reason


def test_pull_simulated_brings_the_market_that_is_served_through_the_one_client(home):
    """Candles, marks and funding come over V5 as they were made, and carry the label."""
    lake = home / "data" / "lake"
    pull_simulated(lake)
    market = load(list(SYMBOLS), interval="60", lake=lake, venue="simulator")
    made = synthesise(
        SYMBOLS, interval="60", start=datetime(2023, 1, 1, tzinfo=UTC),
        end=datetime(2024, 1, 1, 1, tzinfo=UTC), seed=SEED,
    ).until(market.index[-1])  # fmt: skip
    assert market.watermark == "SYNTHETIC"
    assert market.index.equals(made.index)
    for name in ("open", "high", "low", "close", "mark_close", "funding_settled"):
        # What settles at this very moment is told with the next.
        served, source = (getattr(each, name).iloc[:-1] for each in (market, made))
        pd.testing.assert_frame_equal(served, source, check_freq=False)
