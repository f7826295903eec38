"""Protects runs from parameters that are not what the notebook means: ``false`` must be False."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.jobs.books import PARAMETERS
from workbench.core.errors import JobError
from workbench.jobs.parameters import bind_parameters, parse_parameters

KNOWN = parse_parameters(
    "FLAG = True  # on or off\n"
    "COUNT: int = 3  # bars\n"
    "RATE = 0.5\n"
    'NAME = "60"  # minutes\n'
    'SYMBOLS = ["BTCUSDT"]  # names\n'
    "LEVELS = [1, 2]\n"
    "GRID = {'fast': [1, 2]}\n"
    "END = None\n"
)


def test_parse_parameters_reads_defaults_and_comments():
    known = parse_parameters(PARAMETERS)

    assert {name: p.default for name, p in known.items()} == {
        "FAST": 24,
        "BAND": 0.5,
        "FLAG": True,
        "SYMBOLS": ["BTCUSDT"],
        "END": None,
        "SEED": 7,
    }
    assert known["FAST"].comment == "bars"


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("FLAG", "false", False),
        ("FLAG", "True", True),
        ("FLAG", "0", False),
        ("FLAG", False, False),
        ("COUNT", "12", 12),
        ("COUNT", -4, -4),
        ("COUNT", 5.0, 5),
        ("RATE", "1e-3", 0.001),
        ("RATE", 2, 2.0),
        ("NAME", 60, "60"),
        ("NAME", "2024-01-01", "2024-01-01"),
        ("NAME", date(2024, 1, 1), "2024-01-01"),
        ("SYMBOLS", "BTCUSDT,ETHUSDT", ["BTCUSDT", "ETHUSDT"]),
        ("SYMBOLS", "BTCUSDT", ["BTCUSDT"]),
        ("SYMBOLS", '["BTCUSDT", "ETHUSDT"]', ["BTCUSDT", "ETHUSDT"]),
        ("SYMBOLS", ("BTCUSDT",), ["BTCUSDT"]),
        ("LEVELS", "4, 5,6", [4, 5, 6]),
        ("GRID", "{fast: [3, 4], slow: [9]}", {"fast": [3, 4], "slow": [9]}),
        ("GRID", '{"fast": [3]}', {"fast": [3]}),
        ("END", "2024-01-01", "2024-01-01"),
        ("END", "true", True),
        ("END", "null", None),
        ("END", 3, 3),
        ("END", date(2024, 1, 1), "2024-01-01"),
    ],
)
def test_bind_parameters_fitting_value_takes_the_type_of_the_default(name, given, wanted):
    bound = bind_parameters(KNOWN, {name: given})[name]

    assert bound == wanted
    assert type(bound) is type(wanted)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("FLAG", "maybe"),
        ("FLAG", 2),
        ("COUNT", "1.5"),
        ("COUNT", 1.5),
        ("COUNT", True),
        ("COUNT", "many"),
        ("COUNT", None),
        ("RATE", "nan"),
        ("RATE", "high"),
        ("RATE", True),
        ("NAME", ["60"]),
        ("NAME", None),
        ("LEVELS", "1,x"),
        ("LEVELS", 3),
        ("SYMBOLS", "[unclosed"),
        ("GRID", "fast"),
        ("GRID", {"fast": {1}}),
        ("END", [1]),
    ],
)
def test_bind_parameters_ill_typed_value_is_refused_with_the_list(name, given):
    with pytest.raises(JobError) as refused:
        bind_parameters(KNOWN, {name: given})

    assert name in refused.value.what
    assert all(f"  {known} (" in refused.value.fix for known in KNOWN)


def test_bind_parameters_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(JobError, match="no parameter COUNTS \\(did you mean COUNT\\?\\)"):
        bind_parameters(KNOWN, {"COUNTS": 1, "FLAG": "no"})


def test_bind_parameters_notebook_without_any_says_so():
    with pytest.raises(JobError, match="It has no cell tagged parameters"):
        bind_parameters({}, {"A": 1})


@pytest.mark.parametrize(
    "source", ["A = 1 + x", "import os", "A = B = 1", "a, b = 1, 2", "A = f()", "A ="]
)
def test_parse_parameters_other_than_literals_is_refused(source):
    with pytest.raises(JobError, match="parameters"):
        parse_parameters(source)


@given(
    st.lists(st.integers(), min_size=1), st.booleans(), st.floats(allow_nan=False), st.integers()
)
def test_bind_parameters_text_of_a_value_reads_back_as_the_value(levels, flag, rate, count):
    given = {"LEVELS": levels, "FLAG": flag, "RATE": rate, "COUNT": count}

    bound = bind_parameters(KNOWN, {name: str(value) for name, value in given.items()})

    assert bound == given
