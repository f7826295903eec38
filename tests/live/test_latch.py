"""The latch goes up by anybody's word, down by a person's, and survives whatever ends the process.

Known traps: state not persisted; a breaker that cannot re-arm.
"""

import json
import os

import pytest

from tests.live.seen import START
from workbench.core.errors import RiskRefused
from workbench.live.latch import (
    KEPT,
    STATE,
    STOP,
    Latch,
    Level,
    Press,
    drop_word,
    leave_word,
    load_state,
    read_level,
    read_word,
    save_state,
)


@pytest.mark.parametrize("name", ["no-new-risk", "NO_NEW_RISK", " cancel-all ", "flatten"])
def test_read_level_knows_every_spelling_of_a_name(name):
    assert read_level(name).words == name.strip().lower().replace("_", "-")


@pytest.mark.parametrize("name", ["", "clear", "everything", "3"])
def test_read_level_refuses_what_is_no_level_and_names_those_that_are(name):
    with pytest.raises(RiskRefused, match="no-new-risk, cancel-all, flatten"):
        read_level(name)


@pytest.mark.parametrize(("by", "reason"), [("", "why"), ("me", " ")])
def test_word_without_name_or_reason_is_refused(by, reason):
    with pytest.raises(RiskRefused, match="no reason"):
        Press(Level.CLEAR, by, reason).check()


def test_latch_goes_up_and_never_down_but_by_release():
    latch = Latch().press(Press(Level.CANCEL_ALL, "a", "first"), START)
    assert latch.press(Press(Level.NO_NEW_RISK, "b", "less"), START) is latch
    assert latch.press(Press(Level.CANCEL_ALL, "b", "same"), START) is latch
    flat = latch.press(Press(Level.FLATTEN, "c", "more"), START)
    free = flat.press(Press(Level.CLEAR, "d", "all well"), START)
    assert [flat.level, free.level] == [Level.FLATTEN, Level.CLEAR]
    assert [word["by"] for word in free.words] == ["a", "c", "d"]
    assert free.press(Press(Level.FLATTEN, "e", "again"), START).level is Level.FLATTEN


def test_latch_remembers_the_last_words_only():
    latch = Latch()
    for n in range(KEPT):
        for level in (Level.FLATTEN, Level.CLEAR):
            latch = latch.press(Press(level, str(n), "x"), START)
    assert len(latch.words) == KEPT
    assert latch.words[-1]["by"] == str(KEPT - 1)


def test_state_is_read_as_it_was_saved(tmp_path):
    folder = tmp_path / "new"
    assert load_state(folder) is None
    latch = Latch().press(Press(Level.FLATTEN, "me", "why"), START)
    save_state(folder, {"latch": latch.document()})
    assert Latch.read(load_state(folder)["latch"]) == latch


def test_state_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    save_state(tmp_path, {"n": 1})

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_state(tmp_path, {"n": 2})
    assert load_state(tmp_path) == {"n": 1}


def test_state_is_on_disk_before_it_takes_the_place_of_the_old_one(tmp_path, monkeypatch):
    calls, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(load_state(tmp_path)) or sync(fd))
    save_state(tmp_path, {"n": 1})
    assert calls == [None, {"n": 1}]  # the draft, then the folder with the new name


@pytest.mark.parametrize("text", ["", "please stop", "[]", '{"level": "clear", "by": "a"}', "\x00"])
def test_file_that_cannot_be_understood_means_flatten(tmp_path, text):
    (tmp_path / STOP).write_text(text)
    assert read_word(tmp_path).level is Level.FLATTEN


def test_release_by_file_is_not_taken(tmp_path):
    said = {"level": "clear", "by": "mallory", "reason": "trust me"}
    (tmp_path / STOP).write_text(json.dumps(said))
    assert read_word(tmp_path).level is Level.FLATTEN


def test_word_is_kept_until_it_is_dropped_and_a_new_one_is_not_dropped_with_it(tmp_path):
    leave_word(tmp_path, Press(Level.NO_NEW_RISK, "me", "why"))
    first = read_word(tmp_path)
    assert first == Press(Level.NO_NEW_RISK, "me", "why")
    assert read_word(tmp_path) == first
    (tmp_path / STOP).touch()
    drop_word(tmp_path)
    assert read_word(tmp_path).level is Level.FLATTEN
    drop_word(tmp_path)
    assert read_word(tmp_path) is None


def test_leave_word_on_a_full_disk_leaves_the_empty_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", full)
    leave_word(tmp_path, Press(Level.NO_NEW_RISK, "me", "why"))
    assert (tmp_path / STOP).read_bytes() == b""
    assert not (tmp_path / STATE).exists()
