"""Protects the limits as data: sound modes, errors that say what to do, tighter from looser."""

import tomllib

import pytest

from workbench.core.errors import ConfigError
from workbench.risk.limits import (
    PLACE,
    Limits,
    breaker_limits,
    change_limits,
    compare_limits,
    list_modes,
    load_limits,
)

MODES = {
    # Default numbers 2 of the acceptance checklist.
    "aggressive": {
        "risk_per_trade": 0.02, "risk_per_trade_large": 0.005, "max_drawdown": 0.40,
        "max_strategy_drawdown": 0.25, "min_sharpe": 0.5, "max_value_at_risk": 0.05,
        "min_consistency": 0.50,
    },
    "conservative": {
        "risk_per_trade": 0.01, "risk_per_trade_large": 0.01, "max_drawdown": 0.25,
        "max_strategy_drawdown": 0.15, "min_sharpe": 0.8, "max_value_at_risk": 0.03,
        "min_consistency": 0.60,
    },
}  # fmt: skip
BOTH = {"max_strategies": 10, "max_strategy_share": 0.1, "max_stop": 0.05, "take_profit": 0.15,
        "max_daily_loss": 0.05, "max_volatility_ratio": 3.0, "max_sector_share": 0.4,
        "max_symbol_share": 0.2}  # fmt: skip


@pytest.mark.parametrize("mode", sorted(MODES))
def test_modes_hold_the_default_numbers(mode):
    """RK-03, RK-18."""
    held = load_limits(mode).model_dump()
    assert {name: held[name] for name in MODES[mode] | BOTH} == MODES[mode] | BOTH


def test_list_modes_names_every_file():
    assert list_modes() == sorted(MODES)


def test_load_limits_of_a_file_with_a_limit_left_out_is_an_error_and_no_default(tmp_path):
    """A partial file must not quietly take the rest from elsewhere."""
    text = (PLACE / "conservative.toml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith("max_drawdown")]
    (tmp_path / "mine.toml").write_text("\n".join(kept))
    with pytest.raises(ConfigError, match="max_drawdown: Field required"):
        load_limits(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"max_gross": -1.0}, "max_gross"),
        ({"max_net": 9.0}, "max_gross is below max_net"),
        ({"max_heat": 0.001}, "max_heat is below risk_per_trade"),
        ({"max_strategy_drawdown": 0.5}, "max_drawdown is below max_strategy_drawdown"),
        ({"regime_high": 0.1}, "regime_high is below regime_crisis"),
        ({"decay_to_usdt": 1.0}, "decay_to_usdt is below decay_from_usdt"),
        ({"max_grosss": 1.0}, "max_grosss: Extra inputs"),
        ({"max_gross": float("nan")}, "max_gross"),
    ],
)
def test_change_limits_to_what_cannot_be_says_what(fields, what):
    with pytest.raises(ConfigError, match=what):
        change_limits(load_limits(), **fields)


@pytest.mark.parametrize("name", ["nowhere", "nowhere.toml"])
def test_load_limits_of_an_unknown_mode_names_those_there_are(name):
    with pytest.raises(ConfigError, match="aggressive, conservative"):
        load_limits(name)


def test_load_limits_of_broken_toml_names_the_line(tmp_path):
    (tmp_path / "mine.toml").write_text("max_gross = = 2")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_limits(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("field", "value", "way"),
    [
        ("max_gross", 1.9, "tighter"),
        ("max_gross", 2.1, "looser"),
        ("min_free_margin", 0.4, "tighter"),
        ("min_free_margin", 0.2, "looser"),
        ("max_positions", 5, "tighter"),
        ("drawdown_action", "block", "looser"),
        ("stop_volatilities", 2.0, "other"),
        ("decay", "linear", "other"),
    ],
)
def test_compare_limits_knows_which_way_is_tighter(field, value, way):
    """RK-03."""
    before = load_limits()
    (found,) = compare_limits(before, change_limits(before, **{field: value}))
    assert (found.field, found.new, found.way) == (field, value, way)


def test_compare_limits_there_and_back_turns_every_way_round():
    there = compare_limits(load_limits("conservative"), load_limits("aggressive"))
    back = {d.field: d.way for d in compare_limits(load_limits("aggressive"), load_limits())}
    turned = {"tighter": "looser", "looser": "tighter", "other": "other"}
    assert {d.field: turned[d.way] for d in there} == back
    assert len(there) > 10


def test_every_limit_is_described_and_is_used():
    """A limit that nothing reads protects nobody."""
    words = Limits.__doc__
    package = [
        path.read_text()
        for path in (PLACE / ".." / "..").resolve().rglob("*.py")
        if path.name != "limits.py"
    ]
    whole = "\n".join(package)
    own = (PLACE / ".." / "limits.py").read_text().split("def breaker_limits")[1]
    unknown = [name for name in Limits.model_fields if name not in words]
    unused = [
        name
        for name in Limits.model_fields
        if f".{name}" not in whole and f".{name}" not in own and name not in ("version", "mode")
    ]
    assert (unknown, unused) == ([], [])


def test_breaker_limits_of_the_value_at_risk_lie_beyond_its_cap():
    limits = load_limits()
    assert min(breaker_limits(limits).values()) > 0
    assert list(breaker_limits(limits).values())[2] == pytest.approx(0.03 * 1.1)


def test_modes_are_complete_files():
    for mode in list_modes():
        named = tomllib.loads((PLACE / f"{mode}.toml").read_text())
        required = [n for n, f in Limits.model_fields.items() if f.is_required()]
        assert set(required) <= set(named)
