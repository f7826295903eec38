"""A scene for each test: a fresh store, a clock that stands still, a key and an empty book."""

import shutil

import pytest

from tests.lifecycle.scene import NOON, Scene, make_key
from workbench.core.clock import SimulatedClock
from workbench.lifecycle import Book
from workbench.store import Store


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    place = tmp_path_factory.mktemp("store") / "empty.db"
    Store.open(f"sqlite:///{place}").close()
    return place


@pytest.fixture(scope="session")
def session_key(tmp_path_factory):
    return make_key(tmp_path_factory.mktemp("vault"), SimulatedClock(NOON))


@pytest.fixture
def scene(empty_store, session_key, tmp_path):
    place = tmp_path / "workbench.db"
    shutil.copy(empty_store, place)
    clock = SimulatedClock(NOON)
    with Store.open(f"sqlite:///{place}", clock=clock) as store:
        yield Scene(store, clock, session_key, Book(store, key=session_key, clock=clock))
