"""Protects what a return code means for a request: whether it may be sent again."""

import re

import pytest

from workbench.exchange.codes import CODES, DONE_FOR, Outcome, describe, find_outcome

# BYBIT.md 2.4, the codes that the exchange's documentation lists for what the workbench does.
LISTED = {
    10000, 10001, 10002, 10003, 10004, 10005, 10006, 10010, 10014, 10016, 10017, 10027, 10029,
    30208, 30209, 33004, 110001, 110003, 110004, 110007, 110012, 110044, 110045, 110008, 110010,
    110009, 110013, 110017, 110020, 110021, 110022, 110023, 110024, 110025, 110028, 110043,
    110057, 110058, 110059, 110060, 110061, 110064, 110072, 110074, 110079, 110090, 110092,
    110093, 110094, 110120, 110121, 170121, 170124, 170131, 170132, 170133, 170134, 170135,
    170136, 170137, 170139, 170140, 170141, 170142, 170143, 170146, 170147, 170213, 170222,
    170810, 10403, 10404, 10429, 10019, 20001, 20003, 20006,
}  # fmt: skip


def test_every_listed_code_is_in_the_table():
    assert CODES.keys() >= LISTED


@pytest.mark.parametrize(
    ("code", "action", "outcome"),
    [
        (10001, "create", Outcome.REJECTED),
        (10002, "create", Outcome.CLOCK),
        (10003, "create", Outcome.REJECTED),
        (10006, "create", Outcome.RETRY_LATER),
        (10429, "create", Outcome.RETRY_LATER),
        (110079, "cancel", Outcome.RETRY_LATER),
        (10000, "create", Outcome.UNKNOWN),
        (10016, "cancel", Outcome.UNKNOWN),
        (170146, "create", Outcome.UNKNOWN),
        (110007, "create", Outcome.REJECTED),
        (110001, "cancel", Outcome.DONE),
        (110001, "amend", Outcome.REJECTED),
        (110008, "cancel", Outcome.DONE),
        (110010, "cancel", Outcome.DONE),
        (110043, "set-leverage", Outcome.DONE),
        (110025, "switch-mode", Outcome.DONE),
        (110072, "create", Outcome.REJECTED),
    ],
)
def test_find_outcome_reads_a_code_by_what_was_asked(code, action, outcome):
    """TE-06: 110072 is done only to who sent the same request before; the client knows that."""
    assert find_outcome(code, action) is outcome


def test_unlisted_business_code_is_a_refusal_and_any_other_unknown():
    """What nobody understands may have had its effect: it must never be sent again unasked."""
    assert find_outcome(110999, "create") is Outcome.REJECTED
    assert find_outcome(3400045, "set-margin-mode") is Outcome.REJECTED
    assert find_outcome(99, "create") is Outcome.UNKNOWN


def test_nothing_that_may_have_had_effect_is_ever_retried_or_done():
    unknown = [code.number for code in CODES.values() if code.outcome is Outcome.UNKNOWN]
    assert not set(unknown) & set(DONE_FOR)


def test_meanings_are_sentences_and_describe_adds_the_exchanges_words():
    assert all(re.fullmatch(r"[A-Z].*\.", code.meaning) for code in CODES.values())
    assert describe(110007, "ab not enough") == (
        "110007: The available balance is too small. The exchange says: ab not enough."
    )
    assert "not known" in describe(99)
