"""Alerts reach people once, through every channel that works, and hold nobody up.

MO-03: levels, dedupe, cooldown, escalate, resolve; one bus. MO-04: e-mail, Discord, Slack,
Telegram, webhook against a fake server; failure of one does not block.
"""

import json
import logging
import queue
import socketserver
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.clock import SimulatedClock
from workbench.core.config import load_config
from workbench.core.errors import ConfigError
from workbench.core.vault import Secret
from workbench.monitor.alerts import (
    ROOM,
    TRIES,
    Alert,
    Alerts,
    Board,
    Severity,
    check_targets,
    find_targets,
)

START = datetime(2026, 7, 1, tzinfo=UTC)
INFO, WARNING, CRITICAL = Severity
WAIT_S = 10


def at(seconds):
    return START + timedelta(seconds=seconds)


def raised(severity=WARNING, key="disk", words="is full"):
    return Alert(key, severity, words)


OVER = Alert("disk", WARNING, "has room again", is_over=True)


@pytest.fixture
def board():
    return Board(cooldown_s=60, escalate_s=600)


# What is told of what is raised.


def test_same_trouble_is_told_once_within_the_cool_down_then_with_its_count(board):
    told = [board.hear(raised(), at(n)) for n in (0, 10, 59, 61)]
    assert told[:3] == [raised(), None, None]
    assert "3 times more" in told[3].words


def test_other_trouble_is_told_beside_it(board):
    assert board.hear(raised(), at(0))
    assert board.hear(raised(key="net"), at(0))


def test_trouble_that_gets_worse_is_told_at_once_and_stays_worse(board):
    board.hear(raised(), at(0))
    assert board.hear(raised(CRITICAL), at(1)).severity is CRITICAL
    assert board.hear(raised(INFO), at(2)) is None
    assert board.hear(raised(INFO), at(70)).severity is CRITICAL


@pytest.mark.parametrize(("severity", "steps"), [(INFO, 2), (WARNING, 1), (CRITICAL, 0)])
def test_trouble_that_goes_on_climbs_a_level_each_time(board, severity, steps):
    told = [board.hear(raised(severity), at(n)) for n in range(0, 3_000, 30)]
    levels = [own.severity for own in told if own is not None]
    assert sorted(set(levels)) == list(range(severity, severity + steps + 1))
    assert levels == sorted(levels)
    first = [at for at, own in zip(range(0, 3_000, 30), told, strict=True) if own is not None]
    assert not steps or first[levels.index(severity + 1)] == 600


def test_end_is_told_if_the_beginning_was_and_the_next_time_is_new(board):
    assert board.hear(OVER, at(0)) is None
    board.hear(raised(), at(1))
    assert board.hear(OVER, at(2)) == OVER
    assert board.hear(OVER, at(3)) is None
    assert board.hear(raised(), at(4)) == raised()


def test_trouble_that_is_heard_of_no_more_ends_by_itself(board):
    board.hear(raised(), at(0))
    assert board.hear(raised(), at(700)) == raised()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(Severity), st.integers(0, 40)),
                max_size=60))  # fmt: skip
def test_nothing_is_told_twice_within_the_cool_down_unless_it_got_worse(events):
    board, last, now = Board(cooldown_s=60, escalate_s=1e9), {}, 0
    for key, severity, step in events:
        now += step
        told = board.hear(raised(severity, key), at(now))
        if told is None:
            assert now - last[key][0] < 60
            assert severity <= last[key][1]
            continue
        if key in last and now - last[key][0] < 60:
            assert told.severity > last[key][1]
        last[key] = now, told.severity


# Channels.


class Web(ThreadingHTTPServer):
    """A fake server that keeps what it is sent, and answers as the test tells it."""

    daemon_threads = True

    def __init__(self):
        self.heard, self.status, self.hold = queue.Queue(), 200, threading.Event()
        self.hold.set()
        super().__init__(("127.0.0.1", 0), _Taker)
        self.place = f"127.0.0.1:{self.server_address[1]}"


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.hold.wait(WAIT_S)
        self.server.heard.put((self.path, body))
        self.send_response(self.server.status)
        content = b"ok"
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def web():
    server = Web()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.hold.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def sinks():
    """Makes sinks, and closes them."""
    made = []

    def make(*urls, **options):
        options = {"wait_s": 0.0, "clock": SimulatedClock(START)} | options
        made.append(Alerts([Secret(url) for url in urls], **options))
        return made[-1]

    yield make
    for sink in made:
        sink.close(2)


def wait(is_so):
    deadline = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_webhook_gets_title_words_and_kind(sinks, web):
    sinks(f"json://{web.place}/hook").tell(raised(CRITICAL))
    path, body = web.heard.get(timeout=WAIT_S)
    sent = json.loads(body)
    assert path == "/hook"
    assert (sent["title"], sent["message"], sent["type"]) == (
        "Workbench critical: disk", "is full", "failure",
    )  # fmt: skip


SERVICES = {
    "discord": ("discord://123456789012/abcdefghijklmnop", "notify_url"),
    "slack": ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts", "webhook_url"),
    "telegram": ("tgram://123456789:ABCdefGhIJKlmNoPQRsTUVwxyZ/12315544/", "notify_url"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("service", SERVICES)
def test_service_gets_the_words(service, sinks, web, monkeypatch):
    url, place = SERVICES[service]
    check_targets([Secret(url)])
    from apprise.plugins import N_MGR

    plugin = N_MGR[url.partition(":")[0]]
    monkeypatch.setattr(plugin, place, f"http://{web.place}/")
    monkeypatch.setattr(plugin, "request_rate_per_sec", 0)
    sinks(url).tell(raised())
    assert b"is full" in web.heard.get(timeout=WAIT_S)[1]


class _Mail(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 fake\r\n")
        in_data, letter = False, b""
        for line in self.rfile:
            word = line[:4].upper()
            if in_data:
                letter += line
                if line == b".\r\n":
                    in_data = False
                    self.server.heard.put(letter)
                    self.wfile.write(b"250 ok\r\n")
            elif word == b"DATA":
                in_data = True
                self.wfile.write(b"354 go on\r\n")
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            elif word == b"EHLO":
                self.wfile.write(b"250-fake\r\n250 AUTH PLAIN\r\n")
            else:
                self.wfile.write(b"235 ok\r\n" if word == b"AUTH" else b"250 ok\r\n")


def test_mail_gets_the_words(sinks):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail)
    server.heard, server.daemon_threads = queue.Queue(), True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    port = server.server_address[1]
    sinks(f"mailto://u:p@127.0.0.1:{port}?from=a@b.com&to=c@d.com&mode=insecure").tell(raised())
    letter = server.heard.get(timeout=WAIT_S)
    assert b"Workbench warning: disk" in letter
    server.shutdown()
    server.server_close()


def test_channel_that_hangs_or_fails_holds_up_neither_caller_nor_others(sinks, web):
    slow = Web()
    threading.Thread(target=slow.serve_forever, args=(0.02,), daemon=True).start()
    slow.hold.clear()
    sink = sinks(f"json://{slow.place}?rto=5", "json://127.0.0.1:9/closed", f"json://{web.place}")
    started = time.monotonic()
    for n in range(20):
        sink.tell(raised(key=str(n)))
    assert time.monotonic() - started < 1
    for _ in range(20):
        web.heard.get(timeout=WAIT_S)
    wait(lambda: sink.channels[1].failed == 20)
    assert (sink.channels[0].sent, sink.channels[2].failed) == (0, 0)
    slow.hold.set()
    wait(lambda: sink.channels[0].sent == 20)
    slow.shutdown()
    slow.server_close()


def test_alert_is_sent_again_when_the_server_fails_and_given_up_in_the_end(sinks, web):
    web.status = 500
    sink = sinks(f"json://{web.place}")
    sink.tell(raised())
    wait(lambda: sink.channels[0].failed == 1)
    assert web.heard.qsize() == TRIES
    web.status = 200
    sink.tell(raised(CRITICAL))
    wait(lambda: sink.channels[0].sent == 1)


@pytest.fixture
def stuck(sinks):
    """A sink with one way that hangs until it is let go, and what it has sent."""
    sink, go, sent = sinks(), threading.Event(), []

    def send(alert):
        go.wait(WAIT_S)
        sent.append(alert.key)
        return True

    sink.add("terminal", send)
    sink.tell(raised(key="first"))
    wait(lambda: not sink.channels[0]._queue.qsize())
    yield sink, go, sent
    go.set()


def test_queue_is_bounded_and_drops_the_oldest(stuck):
    sink, go, sent = stuck
    for n in range(ROOM + 50):
        sink.tell(raised(key=str(n)))
    assert sink.channels[0].dropped == 50
    go.set()
    wait(lambda: len(sent) == ROOM + 1)
    assert sent == ["first", *(str(n) for n in range(50, ROOM + 50))]


def test_close_waits_for_a_way_that_hangs_no_longer_than_it_is_told(stuck):
    sink, go, sent = stuck
    for n in range(ROOM):
        sink.tell(raised(key=str(n)))
    started = time.monotonic()
    sink.close(0.05)
    assert time.monotonic() - started < 1
    go.set()
    sink.channels[0]._thread.join(WAIT_S)
    assert not sink.channels[0]._thread.is_alive()
    assert sent == ["first"]


def test_close_sends_what_waits(sinks, web):
    sink = sinks(f"json://{web.place}")
    for n in range(5):
        sink.tell(raised(key=str(n)))
    sink.close(WAIT_S)
    assert web.heard.qsize() == 5


def test_way_that_raises_is_a_failed_channel(sinks, web):
    def broken(alert):
        raise ZeroDivisionError

    sink = sinks(f"json://{web.place}")
    sink.add("terminal", broken)
    sink.channels[-1].wait_s = 0.0
    sink.tell(raised())
    web.heard.get(timeout=WAIT_S)
    wait(lambda: sink.channels[-1].failed == 1)


# Addresses.


@pytest.mark.parametrize("url", ["nonsense-token-3fa9", "foo://token-3fa9", "tgram://token-3fa9"])
def test_address_that_is_none_is_refused_without_being_shown(url, caplog):
    with pytest.raises(ConfigError, match="Address 2 ") as caught:
        check_targets([Secret("json://127.0.0.1/x"), Secret(url)])
    assert "3fa9" not in str(caught.value) + caplog.text


def test_nothing_of_an_address_is_logged_when_it_fails(sinks, caplog):
    caplog.set_level(logging.DEBUG)
    sink = sinks("json://user:hunter22@127.0.0.1:9/path-3fa9")
    sink.tell(raised())
    wait(lambda: sink.channels[0].failed == 1)
    own = [record for record in caplog.records if record.name.startswith(("workbench", "apprise"))]
    assert own
    assert not [r for r in own if "hunter22" in r.getMessage() or "3fa9" in r.getMessage()]


def test_addresses_come_from_the_variable_and_from_the_vault(home, monkeypatch):
    from tests.core.test_vault import PASSPHRASE, QUICK
    from workbench.core.vault import Vault

    monkeypatch.setenv("WORKBENCH_ALERTS__TARGETS", "json://one  json://two")
    config = load_config()
    vault = Vault.open(config.vault_path, passphrase=PASSPHRASE, create=True, cost=QUICK)
    vault.add("alert.desk", "token", {"token": "json://three"})
    vault.add("bybit.demo", "exchange", {"api_key": "k", "api_secret": "s"})
    found = find_targets(config, vault)
    assert [own.reveal() for own in found] == ["json://one", "json://two", "json://three"]
    assert "json://one" not in repr(config) + repr(found)
    assert find_targets(load_config(overrides={"alerts.targets": None}), None) == []
    vault.add("alert.bytes", "token", b"json://four")
    with pytest.raises(ConfigError, match="no address"):
        find_targets(config, vault)
