"""Protects seals: what was executed, on what, and that no part of it can be changed unseen."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import EvidenceError
from workbench.evidence.seals import (
    Seal,
    check_notebook,
    compare_code,
    compare_measures,
    digest_cells,
    digest_code,
    read_seal,
)


def output(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def make_notebook():
    cells = [
        {"id": "a", "cell_type": "code", "source": "x = 1", "outputs": [], "metadata": {}},
        {"id": "b", "cell_type": "markdown", "source": "Why?", "metadata": {}},
        {"id": "c", "cell_type": "code", "source": "x", "outputs": [output("1")], "metadata": {}},
    ]
    return {"cells": cells, "metadata": {"workbench": {}}}


def make_seal(notebook, **changes):
    values = {
        "run_id": "r1", "notebook": "n.ipynb", "params": {"FAST": 3}, "seed": 7,
        "cells": digest_cells(notebook), "measures": {"sharpe": 1.25}, "snapshots": ["s" * 64],
        "code": {"workbench/x.py": "a" * 64}, "git_commit": "c" * 40, "git_dirty": False,
        "lock_hash": "b" * 64, "python": "3.11.7", "settings": {"seed": 7},
        "ledger": [3, "d" * 64], "sealed": "2026-03-01T12:00:00+00:00",
    }  # fmt: skip
    return Seal(**(values | changes))


@pytest.fixture
def sealed():
    notebook = make_notebook()
    seal = make_seal(notebook)
    notebook["metadata"]["workbench"]["seal"] = seal.to_dict()
    return notebook, seal.digest


def words(notebook, digest):
    return [str(d) for d in check_notebook(notebook, read_seal(notebook), digest=digest)]


def test_check_notebook_as_sealed_finds_nothing(sealed):
    assert words(*sealed) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda n: n["cells"][2]["outputs"][0].update(text="2"), "cell 3: its output"),
        (lambda n: n["cells"][0].update(source="x = 2"), "cell 1: its source"),
        (lambda n: n["cells"].pop(1), "the cells: some were added, removed or moved"),
        (lambda n: n["cells"].reverse(), "the cells: some were added, removed or moved"),
        (lambda n: n["cells"][2]["outputs"].clear(), "cell 3: its output"),
    ],
)
def test_check_notebook_edited_cell_is_named(sealed, change, word):
    notebook, digest = sealed
    change(notebook)

    assert word in words(notebook, digest)[0]


@pytest.mark.parametrize("field", [f for f in Seal.__dataclass_fields__ if f != "cells"])
def test_check_notebook_changed_seal_is_not_the_recorded_one(sealed, field):
    """An edited output whose digest was put into the seal too is found by the store's digest."""
    notebook, digest = sealed
    seal = notebook["metadata"]["workbench"]["seal"]
    seal[field] = {"changed": 1} if isinstance(seal[field], dict) else "changed"

    assert "the seal" in words(notebook, digest)[0]


def test_check_notebook_output_and_seal_edited_together_is_found(sealed):
    notebook, digest = sealed
    notebook["cells"][2]["outputs"][0]["text"] = "9"
    notebook["metadata"]["workbench"]["seal"]["cells"] = digest_cells(notebook)

    assert words(notebook, digest) == [
        "the seal: it is not the one that the store recorded: it was changed"
    ]


def test_check_notebook_counts_and_metadata_do_not_count(sealed):
    notebook, digest = sealed
    notebook["cells"][2]["metadata"] = {"papermill": {"duration": 3}}
    notebook["cells"][2]["execution_count"] = 9

    assert words(notebook, digest) == []


def test_read_seal_without_one_is_refused():
    with pytest.raises(EvidenceError, match="no seal"):
        read_seal(make_notebook())


def test_read_seal_with_a_part_missing_is_refused(sealed):
    notebook, _ = sealed
    del notebook["metadata"]["workbench"]["seal"]["code"]
    with pytest.raises(EvidenceError, match="code"):
        read_seal(notebook)


def test_digest_code_names_what_changed(tmp_path):
    folder = tmp_path / "strategies" / "inner"
    folder.mkdir(parents=True)
    (folder / "a.py").write_text("x = 1")
    (tmp_path / "strategies" / "b.py").write_text("y = 1")
    (tmp_path / "workbench.toml").write_text("seed = 3")
    before = digest_code(tmp_path, folders=["strategies"])
    (folder / "a.py").write_text("x = 2")
    (tmp_path / "strategies" / "b.py").unlink()
    (tmp_path / "strategies" / "c.py").write_text("")
    found = compare_code(before, digest_code(tmp_path, folders=["strategies"]))

    assert sorted(before) == ["strategies/b.py", "strategies/inner/a.py", "workbench.toml"]
    assert [(d.what, d.words.split()[1]) for d in found] == [
        ("strategies/b.py", "was"), ("strategies/c.py", "was"), ("strategies/inner/a.py", "has"),
    ]  # fmt: skip


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(NUMBERS, st.integers(), st.text(), st.booleans(), st.none())


@given(st.dictionaries(st.text(), VALUES))
def test_compare_measures_same_values_are_the_same(measures):
    assert compare_measures(measures, copy.deepcopy(measures)) == []


@given(st.floats(1e-3, 1e6), st.floats(1e-6, 1.0))
def test_compare_measures_number_beyond_the_tolerance_is_a_difference(value, change):
    assert compare_measures({"x": value}, {"x": value * (1 + change)})


@pytest.mark.parametrize(
    ("one", "other"),
    [(1.0, None), (True, 1), ("1", 1), (0.0, 1e-9), (1, 2), (float("inf"), 1e308)],
)
def test_compare_measures_other_kinds_of_difference_are_seen(one, other):
    assert len(compare_measures({"x": one}, {"x": other})) == 1


def test_compare_measures_missing_and_new_names_are_seen():
    found = compare_measures({"a": 1, "b": 2}, {"b": 2, "c": 3})

    assert [d.what for d in found] == ["a", "c"]


def test_compare_measures_rounding_of_the_last_bits_is_none():
    assert compare_measures({"x": 0.1 + 0.2}, {"x": 0.3}) == []
