"""The journal of an exchange is enough to make everything that it said again."""

import json

import pytest

from tests.exchange.desk import KEY, Desk, make_exchange
from workbench.core.errors import DataError
from workbench.exchange.server import Journal, LimitRules, ServerSettings, read_journal, replay

SETTINGS = ServerSettings(ack_ms=5, speed=30, seed=5, limits=LimitRules(1000))


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    """A minute on the exchange: orders, streams, faults, a lost and a closed socket."""
    path = tmp_path_factory.mktemp("journal") / "frames.ndjson"
    book = Journal(path, seed=5)
    desk = Desk(make_exchange(settings=SETTINGS, journal=book))
    public = desk.listen("orderbook.50.BTCUSDT", "publicTrade.BTCUSDT", "kline.1.BTCUSDT")
    private = desk.listen("order", "execution", "position", "wallet", path="/v5/private")
    desk.exchange.control("fault", {"kind": "reorder", "share": 0.5, "times": 0}, desk.wall_ms)
    desk.exchange.control("fault", {"kind": "cut", "where": "order.create"}, desk.wall_ms)
    for k in range(20):
        desk.order(orderLinkId=f"a{k}", orderType="Market" if k % 3 else "Limit", qty="0.002")
        desk.wait(0.5)
    desk.exchange.close_socket(public, desk.wall_ms)
    desk.exchange.control("scenario", {"name": "gap"}, desk.wall_ms)
    desk.wait(3)
    assert private.close_code == 0
    desk.exchange.close_socket(private, desk.wall_ms)
    desk.get("/v5/account/wallet-balance", accountType="UNIFIED")
    book.close()
    return path


def build(sink):
    return make_exchange(settings=SETTINGS, journal=sink)


def test_inputs_of_a_journal_give_the_same_outputs_again(journal):
    kinds = {entry["k"] for entry in read_journal(journal)}
    assert kinds == {"head", "open", "in", "out", "request", "reply", "control", "tick", "close"}
    assert replay(journal, build) == []


def test_difference_is_found_in_any_output(journal, tmp_path):
    rows = list(read_journal(journal))
    for kind in ("out", "reply"):
        number = next(k for k, row in enumerate(rows) if row["k"] == kind and k > 50)
        changed = [*rows[:number], {**rows[number], "t": 0}, *rows[number + 1 :]]
        path = tmp_path / f"{kind}.ndjson"
        path.write_text("".join(json.dumps(row) + "\n" for row in changed))
        assert [line.split(":")[0] for line in replay(path, build)] == [f"line {number + 1}"]


def test_another_seed_tells_another_story(journal):
    other = ServerSettings(ack_ms=5, speed=30, seed=6, limits=LimitRules(1000))
    assert replay(journal, lambda sink: make_exchange(settings=other, journal=sink))


def test_journal_that_was_cut_short_ends_and_one_that_was_edited_is_refused(journal, tmp_path):
    text = journal.read_bytes()
    (tmp_path / "short").write_bytes(text[:-20])
    assert len(list(read_journal(tmp_path / "short"))) == text.count(b"\n") - 1
    (tmp_path / "edited").write_bytes(b"{no json}\n")
    with pytest.raises(DataError):
        list(read_journal(tmp_path / "edited"))


def test_journal_holds_no_secret(journal):
    assert KEY.secret not in journal.read_text()
