"""Protects the book of stages: append-only, chained, one writer at a time (GR-10)."""

import json
import sqlite3

import pytest

from tests.lifecycle.scene import MINE, OTHER, untouched
from workbench.core.errors import DataError, EvidenceError
from workbench.evidence.stages import Stage
from workbench.lifecycle import admit_to_paper, demote, report, retire
from workbench.lifecycle.standing import STATE, add_up
from workbench.store.chain import entry_digest


def edit(scene, statement, *values):
    """Change the store behind the book's back, past the triggers."""
    place = scene.store.url.removeprefix("sqlite:///")
    with sqlite3.connect(place) as database:
        for verb in ("update", "delete"):
            database.execute(f"DROP TRIGGER IF EXISTS events_refuse_{verb}")
        database.execute(statement, values)


def entry(scene, number):
    events = scene.store.events(kind="stage")
    row = events[events["detail"].map(lambda detail: detail["number"] == number)].iloc[0]
    return int(row["event_id"]), row["detail"]


@pytest.fixture
def written(scene):
    scene.bring_to("LIVE_CANDIDATE")
    retire(scene.book, MINE, actor="t", reason="replaced")
    return scene


EDITS = {
    "stage": lambda detail: detail["detail"]["state"].update(stage="LIVE_TRADING"),
    "reason": lambda detail: detail["detail"].update(reason="it was good"),
    "capital": lambda detail: detail["detail"]["state"].update(capital_usdt="1000000"),
    "permit": lambda detail: detail["detail"]["permit"].update(serial=9),
    "whom": lambda detail: detail.update(strategy_hash=OTHER),
    "when": lambda detail: detail.update(at="2020-01-01T00:00:00+00:00"),
    "by whom": lambda detail: detail.update(actor="somebody else"),
}


@pytest.mark.parametrize("case", EDITS)
@pytest.mark.parametrize("number", [2, 3])
def test_book_entry_that_was_edited_is_named(written, case, number):
    event_id, detail = entry(written, number)
    EDITS[case](detail)
    edit(written, "UPDATE events SET detail = ? WHERE event_id = ?", json.dumps(detail), event_id)
    with pytest.raises(EvidenceError, match=f"Entry {number} of the book .* not as it was written"):
        written.reopen()
    with pytest.raises(EvidenceError, match=f"Entry {number} "):
        written.book.reload()


def test_book_row_that_names_another_actor_is_refused(written):
    event_id, _ = entry(written, 1)
    edit(written, "UPDATE events SET actor = 'x' WHERE event_id = ?", event_id)
    with pytest.raises(EvidenceError, match=r"Entry 1 of the book .* not as it was written"):
        written.reopen()


def test_book_entry_that_was_edited_and_hashed_anew_breaks_the_next(written):
    event_id, detail = entry(written, 2)
    detail["detail"]["reason"] = "it was good"
    content = {name: value for name, value in detail.items() if name != "digest"}
    detail["digest"] = entry_digest(content)
    edit(written, "UPDATE events SET detail = ? WHERE event_id = ?", json.dumps(detail), event_id)
    with pytest.raises(EvidenceError, match=r"Entry 3 .* does not follow from the one before"):
        written.reopen()


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ("DELETE FROM events WHERE event_id = ?", 2),
        ("UPDATE events SET kind = 'other' WHERE event_id = ?", 2),
    ],
)
def test_book_entry_that_was_taken_out_is_named(written, change, number):
    event_id, _ = entry(written, number)
    edit(written, change, event_id)
    with pytest.raises(EvidenceError, match=f"Entry {number} .* does not follow"):
        written.reopen()


def test_book_entry_that_was_put_in_is_named(written):
    written.store.add_event("stage", actor="t", detail={"stage": "LIVE_TRADING"})
    with pytest.raises(EvidenceError, match=r"Entry 5 .* does not have the form"):
        written.reopen()


def test_book_whose_end_was_cut_off_has_another_head(written):
    """What a chain cannot see: why its head is printed, to be kept elsewhere."""
    head = written.book.head
    event_id, _ = entry(written, 4)
    edit(written, "DELETE FROM events WHERE event_id = ?", event_id)

    again = written.reopen()
    assert again.standing(MINE).stage is Stage.LIVE_CANDIDATE
    assert again.head != head


def test_book_rows_cannot_be_changed_in_the_ordinary_way(written):
    place = written.store.url.removeprefix("sqlite:///")
    with (
        sqlite3.connect(place) as database,
        pytest.raises(sqlite3.IntegrityError, match="append"),
    ):
        database.execute("DELETE FROM events")


def test_book_that_is_out_of_date_writes_nothing(scene):
    """Two processes decide at once: the second must look again."""
    scene.bring_to("RESEARCH")
    stale = scene.reopen()
    admit_to_paper(scene.book, MINE, actor="one", check_run=untouched)
    with pytest.raises(DataError, match="another process has written"):
        retire(stale, MINE, actor="two", reason="x")

    assert scene.reopen().standing(MINE).stage is Stage.PAPER_VALIDATION
    stale.reload()
    assert retire(stale, MINE, actor="two", reason="x").stage is Stage.RETIRED


def test_book_knows_strategies_apart(scene):
    scene.bring_to("PAPER_VALIDATION", OTHER)
    scene.bring_to("RESEARCH")

    assert [s.stage for s in scene.reopen().standings] == ["PAPER_VALIDATION", "RESEARCH"]
    assert scene.book.find("c" * 64) is None


def test_standing_is_the_sum_of_the_entries_so_far(written):
    stages = [
        add_up(written.book.entries[:n])[MINE].stage
        for n in range(1, len(written.book.entries) + 1)
    ]

    assert stages == ["RESEARCH", "PAPER_VALIDATION", "LIVE_CANDIDATE", "RETIRED"]


def test_permit_of_each_move_supersedes_the_one_before(scene):
    live = scene.bring_to("LIVE_TRADING")

    assert live.serial == 4
    assert live.permit.permit_id == f"{MINE[:12]}-4"
    assert demote(scene.book, MINE, actor="t", reason="x").serial == 5


def test_every_field_that_an_entry_sets_comes_back(scene):
    """STATE names the fields from stage to successor; one that it missed would be lost."""
    scene.bring_to("LIVE_TRADING")
    review = demote(scene.book, MINE, actor="t", reason="x")
    again = scene.reopen().standing(MINE)

    assert STATE[0] == "stage"
    assert STATE[-1] == "successor"
    assert again == review
    assert again.before_since is not None


def test_report_shows_stages_capital_and_the_newest_entries(scene):
    """GR-11."""
    scene.bring_to("LIVE_TRADING", OTHER)
    scene.bring_to("RESEARCH")
    shown = report(scene.book, n_entries=3)

    assert list(shown.stages["stage"]) == ["LIVE_TRADING", "RESEARCH"]
    assert shown.stages["permit_until"].notna().all()
    assert list(shown.entries["what"]) == ["enter", "move", "move"]
    assert str(shown.live_usdt) == "2700.00"
    assert shown.head == scene.book.head
