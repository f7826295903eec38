"""Protects the thresholds: each at its boundary, as listed, consistent, and as the guide says."""

import re
from math import inf, nextafter
from pathlib import Path

import pytest

from tests.lifecycle.scene import COSTS, GOOD, MINE, NAME
from workbench.evidence.gates import SIGNS, load_gate
from workbench.evidence.judge import judge
from workbench.lifecycle import graduation_score
from workbench.lifecycle.book import PERMIT_DAYS
from workbench.lifecycle.capital import BASE_USDT, CAP_USDT, OVERRIDE_USDT
from workbench.lifecycle.evaluation import MAINTENANCE, REVIEW
from workbench.lifecycle.records import assumed_cost
from workbench.lifecycle.rights import MOST_OVERRIDE_DAYS, OVERRIDE_DAYS
from workbench.lifecycle.transitions import GATES

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "graduation.md").read_text()
STEPS = ("paper", "candidate", "triggers", "maintenance", "review", "redemption")

# CHECKLIST, default numbers 1.
LISTED = {
    "classic-paper": {
        "trades": 50, "days": 30, "sharpe": 1.0, "max_drawdown": 0.15, "win_rate": 0.45,
        "profit_factor": 1.2, "score": 0.70, "validation_score": 0.80,
    },
    "classic-candidate": {
        "trades": 100, "days": 60, "sharpe": 1.2, "max_drawdown": 0.12, "win_rate": 0.48,
        "profit_factor": 1.3, "score": 0.75, "validation_score": 0.85, "correlation": 0.7,
    },
    "classic-triggers": {
        "max_drawdown": 0.25, "sharpe_7d": -1, "correlation": 0.9, "losses_in_a_row": 9,
    },
    "classic-maintenance": {
        "sharpe": 0.5, "max_drawdown": 0.20, "profit_factor": 1.0, "execution_rate": 0.95,
    },
    "classic-review": {"sharpe_7d": 0.5},
    "classic-redemption": {"score": 0.6},
}  # fmt: skip
EVERY = [f"{prefix}{step}" for prefix in ("", "classic-") for step in STEPS]
CRITERIA = [(name, c.measure) for name in EVERY for c in load_gate(name).criteria]
AT_MOST = {
    "max_drawdown", "correlation", "losses_in_a_row", "cost_drift", "decision_mismatches",
    "reconciliation_incidents",
}  # fmt: skip


def ask(gate, **changes):
    return judge(
        GOOD | changes, load_gate(gate), strategy=NAME, strategy_hash=MINE, is_synthetic=False
    )


@pytest.mark.parametrize("gate", LISTED)
def test_classic_gate_holds_the_listed_numbers_and_all_of_them_decide(gate):
    """GR-02, GR-03, GR-04, GR-05."""
    criteria = load_gate(gate).criteria

    assert {c.measure: c.threshold for c in criteria} == LISTED[gate]
    assert all(c.is_required for c in criteria)


@pytest.mark.parametrize(("gate", "measure"), CRITERIA)
def test_criterion_holds_inside_and_on_its_threshold_and_not_outside(gate, measure):
    """GR-02 to GR-05: each criterion at its boundary."""
    criterion = next(c for c in load_gate(gate).criteria if c.measure == measure)
    worse = inf if measure in AT_MOST else -inf
    edge = criterion.threshold
    # Seven days of a Sharpe ratio must exceed the way back; ten losses are one more than nine.
    is_inclusive = (measure, criterion.comparison) != ("sharpe_7d", "above")
    found = {
        place: next(f for f in ask(gate, **{measure: value}).findings if f.measure == measure)
        for place, value in {
            "inside": nextafter(edge, -worse), "on": edge, "outside": nextafter(edge, worse),
        }.items()
    }  # fmt: skip

    assert found["inside"].status == "pass"
    assert found["on"].status == ("pass" if is_inclusive else "fail")
    assert found["outside"].status == "fail"


@pytest.mark.parametrize(("gate", "measure"), CRITERIA)
def test_criterion_that_decides_refuses_alone_and_one_that_does_not_never_does(gate, measure):
    rules = load_gate(gate)
    criterion = next(c for c in rules.criteria if c.measure == measure)
    outside = criterion.threshold + (1e-9 if measure in AT_MOST else -1e-9)
    answer = ask(gate, **{measure: outside})

    assert ask(gate).is_passed
    # One of four or of six checks may fail; two of either are too many.
    assert answer.is_passed is (not criterion.is_required or rules.rule == "share")


@pytest.mark.parametrize("gate", ["maintenance", "classic-maintenance"])
def test_maintenance_keeps_with_three_quarters_of_its_checks(gate):
    """GR-04: the 75 % rule, on it and below it."""
    rules = load_gate(gate)
    required = [c for c in rules.criteria if c.is_required]
    bad = {c.measure: c.threshold + (1 if c.measure in AT_MOST else -1) for c in required}
    n_may_fail = int(len(required) * 0.25)

    def failing(n):
        return ask(gate, **dict(list(bad.items())[:n]))

    assert rules.pass_share == 0.75
    assert failing(n_may_fail).is_passed
    assert not failing(n_may_fail + 1).is_passed


@pytest.mark.parametrize("gate", ["triggers", "classic-triggers"])
def test_trigger_that_is_unknown_does_not_fire(gate):
    for criterion in load_gate(gate).criteria:
        assert ask(gate, **{criterion.measure: None}).is_passed


@pytest.mark.parametrize("gate", ["paper", "candidate", "review", "redemption", "classic-paper"])
def test_way_up_or_back_is_not_open_on_what_is_unknown(gate):
    for criterion in load_gate(gate).criteria:
        answer = ask(gate, **{criterion.measure: None})
        assert answer.is_passed is not criterion.is_required


def score_at(gate, **others):
    """The score of a strategy that meets every other line of a gate and no more."""
    lines = {c.measure: c.threshold for c in load_gate(gate).criteria}
    paid = (1 + load_gate("paper").criteria[4].threshold) * assumed_cost(COSTS)
    slippage = paid - COSTS.taker_fee_bps * 1e-4
    names = ("sharpe", "max_drawdown", "win_rate", "profit_factor", "validation_score")
    parts = {name: lines.get(name, others.get(name)) for name in (*names, "execution_rate")}
    return graduation_score(slippage=slippage, **parts)


@pytest.mark.parametrize(
    ("gate", "holder", "others"),
    [
        ("paper", "paper", {}),
        ("candidate", "candidate", {}),
        ("maintenance", "redemption", {"win_rate": 0.45, "validation_score": 0.8}),
    ],
)
def test_default_score_contradicts_no_line_beside_it(gate, holder, others):
    """Whatever meets every other line meets the score, and nearly not."""
    asked = next(c.threshold for c in load_gate(holder).criteria if c.measure == "score")

    assert load_gate("paper").criteria[4].measure == "cost_drift"
    assert asked <= score_at(gate, **others) < asked + 0.02


def test_default_error_of_the_returns_test_is_shared_out_to_five_per_cent():
    alpha = {
        step: next(c.threshold for c in load_gate(step).criteria if c.measure == "shortfall_p")
        for step in ("paper", "candidate", "triggers", "review", "redemption")
    }

    assert alpha["paper"] + alpha["candidate"] + alpha["triggers"] == pytest.approx(0.05)
    assert alpha["triggers"] == alpha["review"] == alpha["redemption"]


def test_default_gates_decide_on_no_ratio_of_returns():
    """DESIGN 6: on returns only by the test that holds at any time, and by the drawdown."""
    deciding = {c.measure for step in STEPS for c in load_gate(step).criteria if c.is_required}

    assert deciding & {"sharpe", "sharpe_7d", "win_rate", "profit_factor", "score"} == set()


def guide_table(number):
    """A table of the guide: measure to cells by column."""
    tables = re.findall(r"^\| measure \|.*?(?=\n\n)", GUIDE, re.MULTILINE | re.DOTALL)
    head, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in tables[number].splitlines()
    ]
    return {row[0].strip("`"): dict(zip(head[1:], row[1:], strict=True)) for row in rows}


@pytest.mark.parametrize(("number", "prefix"), [(0, ""), (1, "classic-")])
def test_guide_shows_each_threshold_as_the_gate_has_it(number, prefix):
    """Known trap: documents that disagree with code on thresholds."""
    expected = {}
    for step in STEPS:
        for c in load_gate(f"{prefix}{step}").criteria:
            text = f"{SIGNS[c.comparison]} {c.threshold:g}"
            row = expected.setdefault(c.measure, dict.fromkeys(STEPS, "-"))
            row[step] = f"**{text}**" if c.is_required else text

    assert guide_table(number) == expected


def test_guide_shows_the_numbers_of_the_code():
    said = " ".join(GUIDE.split())
    for words in (
        f"lasts {PERMIT_DAYS} days",
        f"for {OVERRIDE_DAYS} days or as many as are asked for, {MOST_OVERRIDE_DAYS} at most",
        f"at most {OVERRIDE_USDT:,} USDT, within the budget",
        f"{BASE_USDT:,} USDT x min(2 x score, 3) x (1.5 for high, 1 for medium, 0.5 for low",
        f"at most {CAP_USDT:,} USDT",
        f"over the last {MAINTENANCE.days} days",
        f"on day {REVIEW.days} `redemption`",
        "1 % to `paper`, 1 % to `candidate`, 3 % to the triggers",
        *(f"the gate `{gate}`" for gate in GATES.values()),
    ):
        assert words in said


def test_guide_counts_the_losses_in_a_row_as_probability_does():
    """Expected trades until ten losses in a row: (1 - q^10) / (p q^10)."""
    for rate, trades in ((0.4, 411), (0.6, 15_893)):
        loss = 1 - rate
        assert round((1 - loss**10) / (rate * loss**10)) == trades
        assert f"{trades:,}" in GUIDE
