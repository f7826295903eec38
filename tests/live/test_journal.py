"""Protects the journal: what was acted on is on disk, a cut end is mended, no edit goes unseen."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.clock import SimulatedClock
from workbench.core.errors import ReconcileError
from workbench.live.journal import DURABLE, Journal, read_journal
from workbench.store.canonical import canonical_json

START = datetime(2024, 1, 1, tzinfo=UTC)
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def written(path, n=5, kind="bar"):
    """A journal of n lines, a second apart."""
    clock = SimulatedClock(START)
    with Journal(path, clock=clock) as journal:
        for i in range(n):
            journal.append(kind, {"i": i, "price": Decimal("1.10")})
            clock.sleep(1)
    return path


@given(st.lists(st.tuples(st.sampled_from(["bar", "intent", "fill"]), documents), max_size=8))
def test_journal_reads_back_what_was_written(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("journal") / "one.jsonl"
    with Journal(path, clock=SimulatedClock(START)) as journal:
        numbers = [journal.append(kind, document) for kind, document in entries]
    read = list(read_journal(path))
    assert numbers == [line.number for line in read] == list(range(len(entries)))
    assert [line.kind for line in read] == [kind for kind, _ in entries]
    assert [line.document for line in read] == [json.loads(canonical_json(d)) for _, d in entries]


def test_journal_goes_on_where_it_stopped(tmp_path):
    path = written(tmp_path / "j.jsonl", 3)
    with Journal(path, clock=SimulatedClock(START)) as journal:
        assert journal.append("bar", "again") == 3
    lines = list(read_journal(path, since=2))
    assert [line.document for line in lines] == [{"i": 2, "price": "1.10"}, "again"]
    assert lines[0].at == START + timedelta(seconds=2)


@pytest.mark.parametrize("kind", sorted(DURABLE))
def test_append_of_what_is_acted_on_is_on_disk_before_it_returns(tmp_path, kind):
    """Nothing is lost: another process sees the line although the file is still open."""
    journal = Journal(tmp_path / "j.jsonl", clock=SimulatedClock(START))
    journal.append("bar", 1)
    journal.append(kind, 2)
    assert [line.document for line in read_journal(journal.path)] == [1, 2]
    journal.close()


@given(st.integers(1, 120))
def test_journal_with_its_end_cut_off_loses_that_line_alone(tmp_path_factory, cut):
    path = written(tmp_path_factory.mktemp("torn") / "j.jsonl")
    content = path.read_bytes()
    last = content.rfind(b"\n", 0, -1) + 1
    cut = min(cut, len(content) - last - 1)
    path.write_bytes(content[:-cut])
    with Journal(path, clock=SimulatedClock(START)) as journal:
        assert journal.torn == content[last:-cut]
        assert journal.count == 4
        journal.append("bar", "after")
    assert [line.number for line in read_journal(path)] == [0, 1, 2, 3, 4]
    assert path.with_suffix(".torn").read_bytes() == content[last:-cut]


@given(st.integers(0, 4), st.sampled_from(["edit", "drop", "swap", "repeat"]))
def test_journal_that_was_tampered_with_is_refused(tmp_path_factory, row, how):
    path = written(tmp_path_factory.mktemp("edited") / "j.jsonl", 6)
    lines = path.read_bytes().splitlines(keepends=True)
    if how == "edit":
        lines[row] = lines[row].replace(b'"1.10"', b'"1.11"')
    elif how == "drop":
        del lines[row]
    elif how == "swap":
        lines[row], lines[row + 1] = lines[row + 1], lines[row]
    else:
        lines.insert(row, lines[row])
    path.write_bytes(b"".join(lines))
    with pytest.raises(ReconcileError, match="not as it was written"):
        list(read_journal(path))
    with pytest.raises(ReconcileError, match="not as it was written"):
        Journal(path, clock=SimulatedClock(START))


def test_journal_is_written_by_one_process_at_a_time(tmp_path):
    """Two engines on one account would trade against each other."""
    path = written(tmp_path / "j.jsonl")
    program = (
        "from datetime import datetime, UTC; from pathlib import Path;"
        "from workbench.core.clock import SystemClock; from workbench.live.journal import Journal;"
        f"Journal(Path({str(path)!r}), clock=SystemClock())"
    )
    with Journal(path, clock=SimulatedClock(START)):
        seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "Another process writes" in seen.stderr
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
