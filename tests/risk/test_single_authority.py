"""Protects the single authority: each measure of risk is defined in one place (RK-01).

The syntax trees of the whole package are read. A function whose name says that it is a measure of
risk, or whose body computes one, stands in the measure's home, or in a list here with its reason.
A function that carries the name and asks the home for the number is no second definition.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "workbench"
YEAR = r"(periods\w*|\w*bars_(per|a)_(year|day)|\w*DAYS_A_YEAR|365(\.0)?|8_?760(\.0)?|252)"
ROOT = rf"((np|math)\.)?sqrt\({YEAR}\)"


class Measure(NamedTuple):
    """What betrays a definition (its name, the text of an expression) and where it is at home."""

    name: str
    body: tuple[str, ...]
    homes: tuple[str, ...]


MEASURES = {
    "value at risk": Measure(
        r"value_at_risk|(^|_)c?var(_?\d+)?$",
        (
            r"^-\s*(float\()?((np|numpy)\.)?(nan)?(quantile|percentile)\(",
            r"^-.*\.quantile\(",
            r"^-.*(ppf|inv_cdf|stdtrit|ndtri)\(",
        ),
        ("core/measures.py", "risk/tails.py", "risk/extremes.py"),
    ),
    "expected shortfall": Measure(
        r"shortfall|(^|_)cvar|tail_(mean|loss)",
        (r"\[\w+ <=? [^\]]+\]\.mean\(", r"sort\(.*\)\[:.*\]\.mean\("),
        ("core/measures.py", "risk/tails.py", "risk/extremes.py"),
    ),
    "drawdown": Measure(
        r"draw_?down",
        (r"maximum\.accumulate\(", r"\.cummax\(", r"\baccumulate\(.*\bmax\)"),
        ("core/measures.py", "risk/drawdown.py", "risk/tails.py"),
    ),
    "volatility": Measure(
        r"volatility|parkinson|garman|rogers_satchell|yang_zhang|(^|_)ewma|garch|semivariance",
        (
            r"\.ewm\(.*\)\.(std|var)\(",
            r"log\(\w*high\w* / \w*low\w*\)",
            rf"\bstd\(.*\) \* {ROOT}",
            rf"{ROOT} \* .*\bstd\(",
            r"\b(arch_model|ConstantMean|ZeroMean)\(",
        ),
        (
            "core/measures.py",
            *(f"risk/{name}.py" for name in ("volatility", "garch", "forecast", "har")),
        ),
    ),
    "position sizing": Measure(
        r"kelly|(size|scale)_(order|position|target)|position_size|fixed_fraction",
        (),
        ("core/measures.py", "risk/kelly.py", "risk/sizing.py"),
    ),
    "margin": Measure(
        r"(initial|maintenance|fit)_margin|liquidation_(price|distance)|bankruptcy",
        (),
        ("core/margin.py", "risk/margin.py"),
    ),
    "shrinkage": Measure(
        r"shr[iu]nk\w*_(cov|corr)|ledoit|denoise|marchenko",
        (r"\b(LedoitWolf|OAS|ShrunkCovariance|DenoiseCovariance|ledoit_wolf|oas)\(",),
        ("risk/shrinkage.py",),
    ),
}

ALLOWED = {
    ("drawdown", "strategies/breakout.py:_side"): "row numbers of the last entry and the last exit",
    ("drawdown", "core/bootstrap.py:draw_rows"): "row numbers of the beginnings of blocks",
    ("expected shortfall", "execution/analytics.py:split_shortfall"): "Perold's, no tail",
    ("expected shortfall", "lifecycle/prediction.py:shortfall"): "a p-value, not a loss",
    ("position sizing", "backtest/kernel.py:size_order"): "the account's own rounding to lots",
    ("value at risk", "validation/deflation.py:haircut_sharpe"): "a quantile of p-values",
    ("volatility", "backtest/figures.py:rolling_sharpe"): "a Sharpe ratio in a window, drawn",
    ("volatility", "backtest/inputs.py:_impact"): "the daily deviation in a law of market impact",
    ("volatility", "execution/condition.py:day_volatility"): "that of risk for a day, not a year",
    ("volatility", "validation/power.py:plant_edge"): "a Sharpe ratio turned into a mean",
    ("volatility", "validation/processes.py:_garch"): "draws rows of residuals of several symbols",
}


def definitions(source, place):
    """Every measure that a source defines, with the function that does."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        inside = list(expressions(node))
        texts = [ast.unparse(one) for one in inside if not isinstance(one, ast.Name)]
        for measure, how in MEASURES.items():
            is_named = re.search(how.name, node.name.lower()) and not asks(inside, how.name)
            if is_named or any(re.search(p, text) for p in how.body for text in texts):
                yield measure, f"{place}:{node.name}"


def expressions(function):
    """The expressions of a function, without those of functions within it."""
    waiting = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, (ast.BinOp, ast.Call, ast.UnaryOp, ast.Name, ast.Attribute)):
            yield node
        waiting += ast.iter_child_nodes(node)


def asks(inside, name):
    """Whether one of the expressions calls, or hands on, something of that name."""
    words = {
        one.attr if isinstance(one, ast.Attribute) else one.id
        for one in inside
        if isinstance(one, (ast.Attribute, ast.Name)) and isinstance(one.ctx, ast.Load)
    }
    return any(re.search(name, word.lower()) for word in words)


def strays(sources, allowed=()):
    """The definitions of some sources, by place, that are neither at home nor allowed."""
    return sorted(
        {
            found
            for place, source in sources.items()
            for found in definitions(source, place)
            if place not in MEASURES[found[0]].homes and found not in allowed
        }
    )


@pytest.fixture(scope="module")
def package():
    """The text of every module of the package."""
    return {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
    }


def test_each_measure_is_defined_in_its_home_alone(package):
    """RK-01."""
    assert strays(package, ALLOWED) == []


def test_the_list_of_exceptions_holds_no_more_than_there_are(package):
    assert set(ALLOWED) <= set(strays(package))


def test_each_home_that_is_there_defines_its_measure(package):
    """A pattern that finds nothing at home would find nothing elsewhere."""
    for measure, how in MEASURES.items():
        at_home = {home: package[home] for home in how.homes if home in package}
        found = [kind for place, text in at_home.items() for kind, _ in definitions(text, place)]
        assert measure in found, measure


@pytest.mark.parametrize(
    ("measure", "body"),
    [
        ("value at risk", "def f(r):\n    return -np.quantile(r, 0.01)"),
        ("value at risk", "def f(r):\n    return -float(np.percentile(r, 1))"),
        ("value at risk", "def f(frame):\n    return -frame.quantile(0.05)"),
        ("value at risk", "def f(m, s):\n    return -(m + s * norm.ppf(0.01))"),
        ("value at risk", "def daily_var(r):\n    return sorted(r)[3]"),
        ("expected shortfall", "def f(r, q):\n    return r[r <= q].mean()"),
        ("expected shortfall", "def f(r):\n    return -np.sort(r)[:5].mean()"),
        ("expected shortfall", "class A:\n    def cvar_95(self):\n        return sum(self.worst)"),
        ("drawdown", "def f(e):\n    return (1 - e / np.maximum.accumulate(e)).max()"),
        ("drawdown", "def f(e):\n    def inner():\n        return e / e.cummax() - 1"),
        ("drawdown", "def f(e):\n    return list(itertools.accumulate(e, max))"),
        ("drawdown", "def drawdown_of(e):\n    return max(e) - min(e)"),
        ("volatility", "def f(r):\n    return r.std(ddof=1) * np.sqrt(365)"),
        ("volatility", "def f(r, periods):\n    return math.sqrt(periods) * np.std(r)"),
        ("volatility", "def f(r):\n    return r.ewm(alpha=0.06).std()"),
        ("volatility", "def f(high, low):\n    return np.log(high / low) ** 2"),
        ("volatility", "async def garch_forecast(r):\n    return r"),
        ("position sizing", "def kelly(p, b):\n    return p - (1 - p) / b"),
        ("position sizing", "def position_size(equity, risk):\n    return equity * risk"),
        ("margin", "def maintenance_margin(value):\n    return 0.005 * value"),
        ("margin", "def liquidation_price(entry):\n    return 0.9 * entry"),
        ("shrinkage", "def f(r):\n    return LedoitWolf().fit(r).covariance_"),
        ("shrinkage", "def shrunk_covariance(s):\n    return 0.9 * s + 0.1"),
    ],
)
def test_a_second_definition_is_caught(measure, body):
    """RK-01: each planted where it does not belong."""
    assert measure in [kind for kind, _ in strays({"portfolio/planted.py": body})]


@pytest.mark.parametrize(
    "body",
    [
        "def value_at_risk(r):\n    return tails.historical(r).value_at_risk",
        "def _drawdown(result):\n    return pd.Series(-drawdown_path(result.returns))",
        "class A:\n    def drawdown(self):\n        return max_drawdown(self.returns)",
        "def median(r):\n    return np.quantile(r, 0.5)",
        "def spread(r):\n    return r.std(ddof=1)",
        "def error(r, n):\n    return r.std() * np.sqrt(n)",
        "def show_margin_note(x):\n    return x",
    ],
)
def test_asking_the_home_is_no_second_definition(body):
    assert strays({"portfolio/planted.py": body}) == []
