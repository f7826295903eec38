"""``workbench doctor`` looks at everything, says what to do, and fails on red only."""

import json
import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from workbench.cli import app
from workbench.store import Store
from workbench.store.engine import make_engine

CHECKS = ["Python", "packages", "lock", "kernel", "disk", "store", "clock", "exchange"]


class TimeServer(BaseHTTPRequestHandler):
    """Answers as Bybit's /v5/market/time does."""

    def do_GET(self) -> None:
        now = time.time_ns()
        result = {"timeSecond": str(now // 10**9), "timeNano": str(now)}
        answer = {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}}
        body = json.dumps({**answer, "time": now // 10**6}).encode()
        self.send_response(200 if self.path.startswith("/v5/market/time") else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def exchange(monkeypatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TimeServer)
    thread = Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("WORKBENCH_EXCHANGE__REST_URL", url)
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


def call():
    result = CliRunner(env={"COLUMNS": "250"}).invoke(app, ["doctor"])
    rows = re.findall(r"│ (green|yellow|red) +│ (\S+) +│ (.*?) *│ (.*?) *│", result.output)
    return result, {name: (level, seen, fix) for level, name, seen, fix in rows}


def test_doctor_of_a_sound_setup_passes(home, exchange):
    result, rows = call()
    assert list(rows) == CHECKS
    assert result.exit_code == 0
    assert rows["exchange"][0] == rows["clock"][0] == rows["store"][0] == "green"


def test_doctor_without_the_exchange_warns_and_passes(home, monkeypatch):
    monkeypatch.setenv("WORKBENCH_EXCHANGE__REST_URL", "http://127.0.0.1:9")
    result, rows = call()
    assert result.exit_code == 0
    assert rows["exchange"][0] == rows["clock"][0] == "yellow"
    assert "Synthetic" in rows["exchange"][2]


def test_doctor_of_a_store_that_is_behind_fails_and_says_what_to_do(home, exchange):
    with Store.open() as store:
        engine = make_engine(store.url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    engine.dispose()
    result, rows = call()
    assert result.exit_code == 1
    assert rows["store"][0] == "red"
    assert "workbench db upgrade" in rows["store"][2]
