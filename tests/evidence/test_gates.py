"""Protects the gates: thresholds are data with a version, and a bad file grants nothing."""

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import ConfigError
from workbench.evidence.gates import Criterion, Gate, list_gates, load_gate

CLASSIC = {
    "consistency": (0.7, 0.8, 0.6),
    "walk_forward_sharpe": (1.0, 1.2, 0.8),
    "walk_forward_drawdown": (0.15, 0.10, 0.20),
    "permutation_p": (0.05, 0.01, 0.10),
    "permutation_z": (2.0, 2.5, 1.5),
    "pbo": (0.5, 0.3, 0.7),
    "accuracy": (0.55, 0.60, 0.52),
    "f1": (0.50, 0.55, 0.48),
    "bars": (1000, 2000, 500),
    "days": (365, 730, 180),
}


@pytest.mark.parametrize("name", list_gates())
def test_load_gate_every_gate_of_the_package_loads(name):
    gate = load_gate(name)

    assert gate.name == name
    assert len(gate.digest) == 64


def test_load_gate_classic_holds_the_listed_numbers():
    """VA-14: default, conservative and aggressive, and the share that passes."""
    names = ("classic", "classic-conservative", "classic-aggressive")
    for place, name in enumerate(names):
        gate = load_gate(name)
        assert {c.measure: c.threshold for c in gate.criteria} == {
            measure: values[place] for measure, values in CLASSIC.items()
        }
    assert [load_gate(name).pass_share for name in names] == [0.6, 0.7, 0.6]


def test_load_gate_only_conjunctions_grant():
    granting = [name for name in list_gates() if load_gate(name).grants]

    assert granting == ["candidate", "classic-candidate", "classic-paper", "default", "paper"]
    assert {load_gate(name).rule for name in granting} == {"all"}


def test_gate_digest_changes_with_a_threshold():
    gate = load_gate()
    first = gate.criteria[0].model_copy(update={"threshold": 1.0})
    looser = gate.model_copy(update={"criteria": (first, *gate.criteria[1:])})

    assert looser.digest != gate.digest


@given(value=st.floats(-10, 10), threshold=st.floats(-10, 10))
def test_criterion_holds_on_its_threshold_and_beyond(value, threshold):
    row = {"name": "x", "measure": "x", "threshold": threshold, "is_required": True}
    least = Criterion(comparison="at_least", **row)
    most = Criterion(comparison="at_most", **row)

    above = Criterion(comparison="above", **row)

    assert least.holds(threshold)
    assert most.holds(threshold)
    assert above.holds(value) == (value > threshold)
    assert least.holds(value) == (value >= threshold)
    assert most.holds(value) == (value <= threshold)


def write(path, **changes):
    gate = load_gate().model_dump() | changes
    path.write_text(tomli_w.dumps(gate))
    return str(path)


def test_load_gate_own_file_loads(tmp_path):
    assert load_gate(write(tmp_path / "mine.toml", name="mine", version=4)).version == 4


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"rule": "majority"}, "rule"),
        ({"rule": "share"}, "grant"),
        ({"rule": "known"}, "grant"),
        ({"version": 0}, "version"),
        ({"criteria": []}, "criteria"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_load_gate_file_that_describes_none_is_refused(tmp_path, changes, word):
    with pytest.raises(ConfigError, match=word):
        load_gate(write(tmp_path / "mine.toml", **changes))


def test_load_gate_two_criteria_of_one_name_are_refused(tmp_path):
    criteria = load_gate().model_dump()["criteria"]
    with pytest.raises(ConfigError, match="same name"):
        load_gate(write(tmp_path / "mine.toml", criteria=criteria + criteria[:1]))


def test_load_gate_where_nothing_is_required_is_refused():
    """A conjunction of nothing would pass everything."""
    criteria = [{**row, "is_required": False} for row in load_gate().model_dump()["criteria"]]
    with pytest.raises(ValueError, match="everything would pass"):
        Gate.model_validate(load_gate().model_dump() | {"criteria": criteria})


def test_load_gate_unknown_name_lists_those_there_are():
    with pytest.raises(ConfigError, match="classic, classic-aggressive"):
        load_gate("defualt")


def test_load_gate_broken_toml_is_refused(tmp_path):
    (tmp_path / "mine.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_gate(str(tmp_path / "mine.toml"))
