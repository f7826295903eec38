"""Protects what is published of the leak probes: nearly every leak is found, no clean twin accused.

"Known traps": full-sample scaling, ranking and selection, cut-offs from the last row, states decoded
with the future, centred windows, shuffled folds and fills in the bar of the signal are all in it.
"""

import json

import pytest

from tests.leakbench.bench import KINDS, RESULTS, bench, market_of, subjects, summary


@pytest.mark.slow
def test_corpus_is_found_and_no_twin_is_accused():
    cases = list(bench(market_of()))
    found = summary(cases)
    assert found["leaks"] >= 40
    assert found["clean"] >= 40
    assert found["recall"] >= 0.95, found["missed"]
    assert found["false_alarms"] == 0, [
        c.report for c in cases if c.report.findings and not c.is_leak
    ]
    assert [c.name for c in cases if not c.is_leak and not c.report.is_clean] == []
    assert json.loads(RESULTS.read_text()) == found, "make leakbench writes it anew"


def test_every_leak_has_its_twin_and_every_kind_its_leaks():
    seen = {(kind, name, is_leak) for kind, name, is_leak, _ in subjects()}
    leaks = {(kind, name) for kind, name, is_leak in seen if is_leak}
    assert leaks == {(kind, name) for kind, name, is_leak in seen if not is_leak}
    assert {kind for kind, _ in leaks} == set(KINDS)
