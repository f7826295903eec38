"""The panels by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from workbench.core.errors import ConfigError

if TYPE_CHECKING:
    import ipywidgets

PANELS: Final = ("runs",)


def show(name: str, *, run_id: str = "") -> ipywidgets.Widget:
    """Return a panel: ``runs`` is the run explorer, with ``run_id`` chosen at first.

    Raises
    ------
    ConfigError
        If there is no panel of this name.
    """
    if name not in PANELS:
        raise ConfigError(f"There is no panel {name!r}.", f"Panels: {', '.join(PANELS)}.")
    from workbench.panels.runs import RunExplorer
    from workbench.store import Store

    return RunExplorer(store=Store.open(), run_id=run_id).widget()
