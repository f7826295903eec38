"""The card of a verdict: the word, why in one sentence, and every criterion, as HTML.

It takes the colours of whatever page it stands on (a panel, JupyterLab light or dark, a run's
page), says by word and sign what it says by colour, and reads well with no style at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workbench.evidence.verdicts import Finding, Verdict

MARKS: Final = {"pass": ("✓", "holds"), "fail": ("✗", "fails"), "unknown": ("?", "unknown")}


def verdict_card(verdict: Verdict) -> str:
    """Return a verdict as a piece of HTML that needs nothing from elsewhere."""
    decides = [finding for finding in verdict.findings if finding.is_required]
    beside = [finding for finding in verdict.findings if not finding.is_required]
    made = (
        '<p class="made"><b>SYNTHETIC</b> evidence from a made market counts on a made market '
        "only</p>"
    )
    return (
        f'<style>{_style()}</style><section class="wb-verdict {verdict.word.lower()}" id="verdict">'
        f'<p class="whom">{escape(verdict.strategy)} before the gate {escape(verdict.gate)}, '
        f"version {verdict.version}</p>"
        f'<p class="word">{verdict.word}</p><p class="why">{escape(verdict.sentence)}</p>'
        f"{made if verdict.is_synthetic else ''}"
        f"{_table('What decides', 'decides', decides)}"
        f"{_table('Shown beside it, decides nothing', 'beside', beside)}"
        f'<p class="facts">{_meaning(verdict)} Strategy {verdict.strategy_hash[:16]}, gate '
        f"{verdict.gate_digest[:16]}, verdict {verdict.digest[:16]}.</p></section>"
    )


@cache
def _style() -> str:
    return files(__package__).joinpath("card.css").read_text("utf-8")


def _meaning(verdict: Verdict) -> str:
    if not verdict.is_passed:
        return "Nothing may trade on this."
    if not verdict.grants:
        return "This gate informs; its pass cannot become a permit."
    return "This pass can become a permit for paper trading, and for nothing more."


def _table(caption: str, name: str, findings: Sequence[Finding]) -> str:
    if not findings:
        return ""
    rows = "".join(_row(finding) for finding in findings)
    held = sum(finding.status == "pass" for finding in findings)
    return (
        f'<table class="{name}"><caption>{caption}: {held} of {len(findings)} hold</caption>'
        f"<tbody>{rows}</tbody></table>"
    )


def _row(finding: Finding) -> str:
    sign, word = MARKS[finding.status]
    value = "" if finding.value is None else f"{finding.value:.3g}"
    return (
        f'<tr class="{finding.status}"><td class="sign">{sign} {word}</td>'
        f'<th scope="row">{escape(finding.name)}</th><td class="number">{value}</td>'
        f'<td class="number">{escape(finding.bound)}</td>'
        f'<td class="words">{escape(finding.sentence)}</td></tr>'
    )
