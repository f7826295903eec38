"""The panels by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from workbench.core.errors import ConfigError

if TYPE_CHECKING:
    import ipywidgets

PANELS: Final[Mapping[str, str]] = {
    "runs": "Run explorer",
    "validation": "Validation",
    "risk": "Risk",
}
"""What each panel is called, in the order of the way between them."""


def show(
    name: str, *, run_id: str = "", verdict_id: str = "", report_id: str = ""
) -> ipywidgets.Widget:
    """Return a panel.

    ``runs`` is the run explorer, with ``run_id`` chosen at first; ``validation`` shows the verdicts
    on record, with ``verdict_id`` chosen at first; ``risk`` shows the risk report of the number
    ``report_id``, or the newest.

    Raises
    ------
    ConfigError
        If there is no panel of this name.
    """
    if name not in PANELS:
        raise ConfigError(f"There is no panel {name!r}.", f"Panels: {', '.join(PANELS)}.")
    from workbench.store import Store

    if name == "validation":
        from workbench.panels.validation import ValidationExplorer

        return ValidationExplorer(store=Store.open(), verdict_id=verdict_id).widget()
    if name == "risk":
        from workbench.panels.risk import RiskPanel

        return RiskPanel(store=Store.open(), report_id=report_id).widget()
    from workbench.panels.runs import RunExplorer

    return RunExplorer(store=Store.open(), run_id=run_id).widget()
