"""A turn does what can be done whatever fails: no disk, no network, no sense in a reply.

TE-09. Known trap: state not persisted.
"""

import threading

import pytest

from tests.live.seen import FREE, START, STOP_WORD, Obedient, order, position
from workbench.core.clock import SimulatedClock
from workbench.core.config import SupervisorSettings
from workbench.core.errors import SecretError
from workbench.live import latch
from workbench.live.heartbeat import CLEARANCE, ENGINE, Heart
from workbench.live.latch import STATE, STOP, Level, Press, load_state
from workbench.live.watch import LONGEST_WAIT_S, PACE_S, Watch, Word, release_state
from workbench.monitor.alerts import Severity

RULES = SupervisorSettings(silent_s=2, grace_s=3, poll_s=1)


class Scene:
    """A watch over an account with a position and an entry, by a clock that is moved."""

    def __init__(self, folder):
        self.folder, self.clock, self.told = folder, SimulatedClock(START), []
        self.hands = Obedient([position(1, stop=90)], [order("entry")])
        self.states = []
        self.watch = self.start()

    def start(self, state=None):
        return Watch(self.folder, RULES, hands=self.hands, clock=self.clock,
                     tell=self.told.append, report=self.states.append, state=state)  # fmt: skip

    def say(self, press):
        word = Word(press, threading.Event())
        self.watch.words.put(word)
        return word

    def turn(self, seconds=1.0):
        self.clock.sleep(seconds)
        return self.watch.turn()

    def until_flat(self, turns=20):
        for _ in range(turns):
            self.turn(0.1)
            if self.watch.is_flat:
                return
        raise AssertionError("it never became flat")

    def raised(self):
        return {own.key.partition(" ")[0] for own in self.told if not own.is_over}


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path / "supervisor")


def full_disk(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(latch.os, "fsync", full)


def test_quiet_turn_clears_entries_and_waits_for_the_next_poll(scene):
    assert scene.turn() == RULES.poll_s
    assert Heart(scene.folder / CLEARANCE).last_beat()
    assert (scene.watch.level, scene.hands.sent, scene.told) == (Level.CLEAR, [], [])


def test_word_by_the_door_is_on_disk_when_its_sender_hears_back(scene):
    word = scene.say(STOP_WORD)
    scene.turn()
    assert word.taken.is_set()
    assert load_state(scene.folder)["latch"]["reason"] == "it smokes"
    assert not Heart(scene.folder / CLEARANCE).last_beat()
    scene.until_flat()
    assert scene.watch.state()["is_flat"]


def test_touched_file_flattens_and_is_removed(scene):
    scene.turn()
    (scene.folder / STOP).touch()
    scene.turn()
    scene.until_flat()
    assert not list(scene.folder.glob("*STOP*"))
    assert load_state(scene.folder)["latch"]["level"] == "flatten"


def test_silent_engine_loses_entries_then_everything(scene):
    heart = Heart(scene.folder / ENGINE)
    heart.beat()
    for _ in range(3):
        scene.turn()
    assert (scene.watch.level, scene.hands.orders) == (Level.NO_NEW_RISK, [])
    assert scene.hands.positions
    for _ in range(3):
        scene.turn()
    assert scene.watch.core.latch.by == "supervisor"
    scene.until_flat()


def test_engine_that_signs_off_loses_nothing(scene):
    heart = Heart(scene.folder / ENGINE)
    heart.beat()
    scene.turn()
    heart.rest()
    for _ in range(20):
        scene.turn()
    assert (scene.watch.level, scene.hands.sent) == (Level.CLEAR, [])


def test_restart_finds_the_latch_and_goes_on(scene):
    scene.hands.takes_closing = False
    scene.say(STOP_WORD)
    scene.turn()
    scene.hands.takes_closing = True
    scene.watch = scene.start()
    assert scene.watch.level is Level.FLATTEN
    scene.until_flat()


def test_release_is_on_disk_and_outlives_a_restart(scene):
    scene.say(STOP_WORD)
    scene.turn()
    scene.say(FREE)
    scene.turn()
    assert scene.watch.level is Level.CLEAR
    assert scene.start().level is Level.CLEAR
    assert Heart(scene.folder / CLEARANCE).last_beat()


def test_full_disk_hinders_nothing_and_is_told(scene, monkeypatch):
    scene.turn()
    full_disk(monkeypatch)
    (scene.folder / STOP).touch()
    scene.turn()
    scene.until_flat()
    assert "state" in scene.raised()
    assert load_state(scene.folder) is None
    # The next watch has it from whoever started it, and the word still lies there.
    assert scene.start(scene.states[-1]).level is Level.FLATTEN
    monkeypatch.undo()
    scene.watch = scene.start()
    scene.turn()
    assert load_state(scene.folder)["latch"]["level"] == "flatten"


def test_release_on_a_full_disk_is_not_taken_back_by_the_old_word(scene, monkeypatch):
    scene.turn()
    full_disk(monkeypatch)
    (scene.folder / STOP).touch()
    scene.turn()
    scene.say(FREE)
    for _ in range(3):
        scene.turn()
    assert scene.watch.level is Level.CLEAR


def test_cut_network_is_tried_again_with_back_off_and_words_are_heard_meanwhile(scene):
    scene.turn()
    scene.hands.is_away = True
    waits = [scene.turn(0.1) for _ in range(200)]
    assert scene.hands.looks < 30
    assert max(waits) <= RULES.poll_s
    scene.say(STOP_WORD)
    scene.turn(0.1)
    assert load_state(scene.folder)["latch"]["level"] == "flatten"
    assert not scene.watch.is_flat
    scene.hands.is_away = False
    scene.until_flat(turns=int(LONGEST_WAIT_S / 0.1) + 3)
    assert {"exchange", "latch", "flat"} == scene.raised()


def test_flattening_turns_follow_each_other_at_once(scene):
    scene.hands.takes_closing = False
    scene.say(STOP_WORD)
    assert scene.turn() == PACE_S


def test_reply_that_cannot_be_read_does_not_end_the_watch(scene, monkeypatch):
    def broken(since):
        raise ZeroDivisionError

    monkeypatch.setattr(scene.hands, "count", broken)
    scene.turn(3)
    assert "ZeroDivisionError" in scene.told[0].words
    scene.say(STOP_WORD)
    scene.turn()
    scene.until_flat()


def test_sight_that_makes_no_sense_is_told_and_looked_at_again(scene, monkeypatch):
    scene.hands.positions = [position(1, stop=90, mark="NaN")]
    scene.turn()
    assert scene.raised() == {"judgement"}
    monkeypatch.setattr(scene.hands, "learn", lambda symbols: 1 / 0)
    scene.hands.positions = [position(1, stop=90)]
    scene.say(STOP_WORD)
    scene.until_flat()
    assert scene.raised() == {"judgement", "instruments", "latch", "flat"}


def test_refusals_are_told_and_their_end(scene, monkeypatch):
    send = scene.hands.send
    monkeypatch.setattr(scene.hands, "send", lambda requests: ["no, never"])
    scene.say(STOP_WORD)
    scene.turn()
    assert ("refusals", "no, never") in [(own.key, own.words) for own in scene.told]
    monkeypatch.setattr(scene.hands, "send", send)
    scene.until_flat()
    assert ("refusals", True) in [(own.key, own.is_over) for own in scene.told]


def test_run_turns_until_its_end_and_at_once_when_it_is_woken(scene):
    ends = threading.Event()
    turns = []

    def turn():
        turns.append(1)
        scene.watch.wake.set()
        if len(turns) == 3:
            ends.set()
        return 3600.0

    scene.watch.turn = turn
    scene.watch.run(ends)
    assert len(turns) == 3


def test_refused_key_is_told_as_critical_and_tried_again(scene, monkeypatch):
    def refuse():
        raise SecretError("The key has expired.", "Replace it.")

    monkeypatch.setattr(scene.hands, "look", refuse)
    scene.turn()
    assert (scene.told[0].key, scene.told[0].severity) == ("exchange", Severity.CRITICAL)
    monkeypatch.undo()
    scene.turn(5)
    assert scene.told[-1].is_over
    assert scene.watch.state()["troubles"] == []


@pytest.mark.parametrize("text", ["", "{", "{}", '{"latch": {"level": "odd"}}', "[1]"])
def test_state_that_cannot_be_read_lets_nothing_in(scene, text):
    scene.folder.mkdir(exist_ok=True)
    (scene.folder / STATE).write_text(text)
    watch = scene.start()
    assert watch.level is Level.NO_NEW_RISK
    assert "cannot be read" in watch.core.latch.reason
    assert scene.told[-1].severity is Severity.CRITICAL


@pytest.mark.parametrize("text", [None, "{"])
def test_release_without_a_supervisor_is_found_by_the_next(scene, text):
    scene.say(STOP_WORD)
    scene.turn()
    if text:
        (scene.folder / STATE).write_text(text)
    (scene.folder / STOP).touch()
    release_state(scene.folder, RULES, FREE)
    watch = scene.start()
    assert watch.level is Level.CLEAR
    scene.watch = watch
    scene.turn()
    assert watch.level is Level.CLEAR


def test_end_in_order_closes_the_entries(scene):
    scene.turn()
    ends = threading.Event()
    ends.set()
    scene.watch.run(ends)
    assert Heart(scene.folder / CLEARANCE).is_resting


def test_lower_word_does_not_lower_the_latch(scene):
    scene.say(STOP_WORD)
    scene.turn()
    scene.say(Press(Level.NO_NEW_RISK, "me", "less"))
    scene.turn()
    assert scene.watch.level is Level.FLATTEN
