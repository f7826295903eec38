"""Protects the verdict: a conjunction over evidence, that says why in a sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.evidence.gates import Gate, load_gate
from workbench.evidence.judge import judge
from workbench.evidence.verdicts import Verdict

GOOD = {
    "leaks": 0, "probes": 24, "leak": "", "max_statistic_p": 0.01, "trials": 120, "oos_loss": 0.1,
    "oos_splits": 70, "costs_on": 1, "missing_costs": "", "sealed_quantile": 0.4, "looks": 1,
    "sealed_missing": "",
}  # fmt: skip
BAD = {
    "leaks": 1, "max_statistic_p": 0.0501, "oos_loss": 0.31, "costs_on": 0,
    "sealed_quantile": 0.049,
}  # fmt: skip


def verdict(gate="default", **changes):
    return judge(
        GOOD | changes,
        load_gate(gate),
        strategy="Trend",
        strategy_hash="a" * 64,
        is_synthetic=False,
    )


def test_judge_good_evidence_passes():
    """VA-14, GR-01."""
    answer = verdict()

    assert (answer.word, answer.is_passed, answer.grants) == ("PASSED", True, True)
    assert "120" in answer.sentence


@pytest.mark.parametrize("name", BAD)
def test_judge_any_one_required_criterion_refuses(name):
    answer = verdict(**{name: BAD[name]})

    failed = [finding.measure for finding in answer.findings if finding.status == "fail"]
    assert not answer.is_passed
    assert failed == [name]
    assert answer.sentence == next(f.sentence for f in answer.findings if f.status == "fail")


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("value", [None, float("nan")])
def test_judge_what_is_unknown_does_not_hold(name, value):
    assert not verdict(**{name: value}).is_passed


def test_judge_thresholds_themselves_hold():
    edge = {c.measure: c.threshold for c in load_gate().criteria if c.is_required}

    assert verdict(**edge).is_passed


@given(st.dictionaries(st.sampled_from(["pbo", "deflated_sharpe", "efficiency"]), st.floats(0, 1)))
def test_judge_what_is_only_reported_decides_nothing(reported):
    assert verdict(**reported).is_passed
    assert not verdict(leaks=1, leak="close at once", **reported).is_passed


def test_judge_sentence_of_a_leak_names_it():
    assert "close at 2024-01-03" in verdict(leaks=1, leak="close at 2024-01-03").sentence


def test_judge_classic_is_a_vote_that_grants_nothing():
    measures = {"consistency": 0.7, "pbo": 0.5, "walk_forward_sharpe": 1.0, "days": 364, "bars": 1}
    answer = verdict("classic", **measures)

    assert answer.is_passed
    assert answer.share == pytest.approx(0.6)
    assert answer.confidence == "medium"
    assert not answer.grants
    assert not verdict("classic-conservative", **measures).is_passed


def write(**changes):
    names = ("one", "two", "beside")
    rows = [
        {"name": name, "measure": name, "comparison": "at_least", "threshold": 1.0}
        | {"is_required": name != "beside"}
        for name in names
    ]
    return Gate.model_validate(
        {"name": "g", "version": 1, "grants": False, "criteria": rows} | changes
    )


@pytest.mark.parametrize(
    ("rule", "measures", "is_passed", "share"),
    [
        ("all", {"one": 1, "two": 1, "beside": 0}, True, 2 / 3),
        ("all", {"one": 1, "beside": 1}, False, 1),
        ("known", {"one": 1, "beside": 0}, True, 1 / 2),
        ("known", {"one": 1, "two": 0}, False, 1 / 2),
        ("share", {"one": 1, "two": 0, "beside": 0}, True, 1 / 2),
        ("share", {"one": 0, "two": 0, "beside": 1}, False, 0),
        ("share", {"one": 0, "beside": 1}, False, 0),
    ],
)
def test_judge_rule_says_what_unknown_and_beside_do(rule, measures, is_passed, share):
    gate = write(rule=rule, pass_share=0.5)
    answer = judge(measures, gate, strategy="x", strategy_hash="y", is_synthetic=False)

    assert (answer.is_passed, answer.share) == (is_passed, pytest.approx(share))
    assert list(answer.table["decides"]) == [True, True, False]


def test_judge_nothing_known_is_an_error():
    with pytest.raises(DataError, match="None of the criteria"):
        judge({}, load_gate("classic"), strategy="x", strategy_hash="y", is_synthetic=False)


@pytest.mark.parametrize("value", ["high", [1, 2]])
def test_judge_measure_that_is_no_number_is_refused(value):
    with pytest.raises(DataError, match="max_statistic_p"):
        verdict(max_statistic_p=value)


def test_judge_sentence_without_its_measure_is_an_error():
    measures = {name: value for name, value in GOOD.items() if name != "trials"}
    with pytest.raises(DataError, match="trials"):
        judge(measures, load_gate(), strategy="x", strategy_hash="y", is_synthetic=False)


def test_verdict_survives_json():
    answer = verdict(pbo=0.5)

    assert Verdict.from_dict(json.loads(answer.to_json())) == answer


def test_verdict_table_shows_each_criterion():
    table = verdict(pbo=0.9).table

    assert table.loc["probability of backtest overfitting", "status"] == "fail"
    assert not table.loc["probability of backtest overfitting", "decides"]
    assert table.loc["more than luck", "bound"] == "≤ 0.05"
