"""Protects the card of a verdict: the word, the reason and every criterion, and what is escaped."""

import re
from html.parser import HTMLParser

import pytest

from workbench.evidence.gates import load_gate
from workbench.evidence.judge import judge

MEASURES = {
    "leaks": 0, "probes": 96, "leak": "", "max_statistic_p": 0.37, "trials": 500, "oos_loss": 0.1,
    "oos_splits": 12_870, "costs_on": 1, "missing_costs": "", "sealed_quantile": None, "looks": 0,
    "sealed_missing": "none is left", "pbo": 0.4,
}  # fmt: skip


class Reader(HTMLParser):
    """Reads the text of a page as a person without style sheets does, and its open tags."""

    def __init__(self):
        super().__init__()
        self.words, self.open, self.is_style = [], [], False

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.is_style = tag == "style"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        self.is_style = False

    def handle_data(self, data):
        if not self.is_style:
            self.words.append(data)


def make(strategy="MovingAverageCross", *, is_synthetic=False, gate="default", **measures):
    return judge(
        MEASURES | measures, load_gate(gate), strategy=strategy, strategy_hash="ab12" * 16,
        is_synthetic=is_synthetic,
    )  # fmt: skip


def read(verdict):
    reader = Reader()
    reader.feed(verdict._repr_html_())
    assert reader.open == []
    return " ".join(" ".join(reader.words).split())


def test_card_of_a_refusal_says_why_before_anything_else():
    """VA-14: one sentence, in plain words."""
    verdict = make()
    words = read(verdict)
    assert words.index("REFUSED") < words.index(verdict.sentence) < words.index("What decides")
    assert "37% of all worlds" in verdict.sentence
    assert "Nothing may trade on this." in words
    assert "PASSED" not in words


def test_card_lists_every_criterion_with_value_bound_and_word():
    verdict = make()
    words = read(verdict)
    for finding in verdict.findings:
        word = {"pass": "✓ holds", "fail": "✗ fails", "unknown": "? unknown"}[finding.status]
        value = "" if finding.value is None else f" {finding.value:.3g}"
        assert f"{word} {finding.name}{value} {finding.bound}" in words
    assert "What decides: 3 of 5 hold" in words


def test_card_of_a_pass_says_what_it_is_good_for():
    words = read(make(max_statistic_p=0.001, sealed_quantile=0.5, looks=1, is_synthetic=True))
    assert "PASSED" in words
    assert "permit for paper trading, and for nothing more" in words
    assert "SYNTHETIC evidence" in words
    assert "SYNTHETIC" not in read(make())


def test_card_of_a_gate_that_grants_nothing_says_so():
    known = {"consistency": 0.9, "walk_forward_sharpe": 2.0, "walk_forward_drawdown": 0.05,
             "permutation_p": 0.01, "permutation_z": 3.0, "bars": 9_000, "days": 900}  # fmt: skip
    verdict = make(gate="classic", **known)
    assert verdict.is_passed
    assert "cannot become a permit" in read(verdict)


def test_card_shows_words_of_a_user_as_text():
    card = make("<script>x</script>", sealed_missing="<b>none</b>")._repr_html_()
    assert "<script>" not in card
    assert "<b>none" not in card


def test_card_asks_for_nothing_from_elsewhere_and_styles_only_itself():
    card = make()._repr_html_()
    assert not re.search(r"https?:|url\(|@import|src=", card)
    style = card.partition("<style>")[2].partition("</style>")[0]
    outside = re.sub(r"/\*.*?\*/", "", style)
    while "{" in outside:  # the innermost block goes, until what stands around all of them is left
        outside = re.sub(r"[^{}]*\{[^{}]*\}(?=[^{]*\})|\{[^{}]*\}", "", outside)
    assert outside.strip() == "section.wb-verdict.wb-verdict"


@pytest.mark.parametrize("name", ["--wb-text", "--jp-content-font-color1"])
def test_card_takes_the_colours_of_the_page_it_stands_on(name):
    assert f"var({name}" in make()._repr_html_()
