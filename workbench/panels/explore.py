"""Explore: the parameters of a strategy under one's fingers, in JupyterLab.

Each setting that is looked at is a trial and is recorded as one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import pandas as pd
from pydantic import ValidationError

from workbench.backtest import figures
from workbench.core.costs import Costs
from workbench.core.drawing import ACCENT, DOWN, QUIET, TEMPLATE, thin
from workbench.core.records import Account, Market
from workbench.core.wording import describe_name, describe_value
from workbench.research.trials import backtest
from workbench.strategies import BuyAndHold, Strategy

if TYPE_CHECKING:
    import ipywidgets
    import plotly.graph_objects as go

    from workbench.backtest import Result

SHOWN: Final = (
    "total_return", "cagr", "annual_volatility", "sharpe", "sortino", "max_drawdown", "calmar",
    "n_trades", "win_rate", "profit_factor", "turnover_a_year", "fees_usdt", "funding_usdt",
)  # fmt: skip
POINTS: Final = 1_000


def explore(
    strategy: Strategy,
    market: Market,
    *,
    costs: Costs | None = None,
    account: Account | None = None,
) -> ipywidgets.Widget | go.Figure:
    """Return controls for a strategy's parameters over its equity, waterfall and measures.

    In a recorded job, where nobody can move a slider, the same call returns the static figure.
    """
    if os.environ.get("WORKBENCH_RUN_ID"):
        result = backtest(strategy, market, costs=costs, account=account, kind="explore")
        hold = backtest(BuyAndHold(), market, costs=costs, account=account)
        return figures.equity(result, beside=hold)
    return Explorer(strategy, market, costs=costs, account=account).widget()


class Explorer:
    """The controls, the figure and what redraws it."""

    def __init__(
        self,
        strategy: Strategy,
        market: Market,
        *,
        costs: Costs | None = None,
        account: Account | None = None,
    ) -> None:
        import ipywidgets as widgets

        self.strategy, self.market = strategy, market
        self.costs, self.account = costs, account
        self.controls = {
            name: control
            for name, info in type(strategy).model_fields.items()
            if (control := make_control(name, info, getattr(strategy, name))) is not None
        }
        self.note, self.measures = widgets.HTML(), widgets.HTML()
        self.result = self._run(strategy)
        self.figure = self._draw()
        self._show()
        for control in self.controls.values():
            control.observe(self._changed, names="value")

    def widget(self) -> ipywidgets.Widget:
        """Return the whole of it."""
        import ipywidgets as widgets

        left = widgets.VBox(
            [*self.controls.values(), self.note, self.measures], layout={"flex": "0 0 360px"}
        )
        return widgets.HBox([left, self.figure])

    def set(self, name: str, value: Any) -> None:
        """Move one control, as a hand would."""
        self.controls[name].value = value

    def _run(self, strategy: Strategy) -> Result:
        return backtest(
            strategy, self.market, costs=self.costs, account=self.account, kind="explore"
        )

    def _changed(self, _: Any) -> None:
        values = {name: control.value for name, control in self.controls.items()}
        try:
            wanted = type(self.strategy).model_validate(self.strategy.model_dump() | values)
        except ValidationError as error:
            first = error.errors()[0]
            text = str(first["msg"]).removeprefix("Value error, ")
            self.note.value = f'<span style="color:#d93a4a">{text}</span>'
            return
        self.note.value = ""
        self.result = self._run(wanted)
        self._show()

    def _draw(self) -> Any:
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots

        base = make_subplots(
            rows=2, cols=2, column_widths=[0.64, 0.36], row_heights=[0.66, 0.34],
            specs=[[{}, {"rowspan": 2}], [{}, None]], vertical_spacing=0.05,
            horizontal_spacing=0.22, subplot_titles=["equity, USDT", "Sharpe ratio by layer", ""],
        )  # fmt: skip
        hold = backtest(BuyAndHold(), self.market, costs=self.costs, account=self.account)
        quiet = thin(hold.equity, points=POINTS)
        base.add_scatter(
            x=quiet.index, y=quiet, name="buy and hold", line_color=QUIET, row=1, col=1
        )
        base.add_scatter(x=[], y=[], name="strategy", line_color=ACCENT, row=1, col=1)
        base.add_scatter(
            x=[], y=[], name="drawdown", line_color=DOWN, fill="tozeroy", showlegend=False,
            row=2, col=1,
        )  # fmt: skip
        base.add_bar(
            x=[], y=[], orientation="h", showlegend=False, marker_color=ACCENT,
            texttemplate="%{x:.2f}", row=1, col=2,
        )  # fmt: skip
        base.update_layout(template=TEMPLATE, height=520, width=690, margin_t=84)
        base.update_layout(legend={"x": 0, "xanchor": "left", "y": -0.08, "yanchor": "top"})
        base.update_annotations(font_size=12)
        base.update_xaxes(showticklabels=False, row=1, col=1)
        base.update_yaxes(tickformat=".0%", row=2, col=1)
        base.update_yaxes(autorange="reversed", row=1, col=2)
        return go.FigureWidget(base)

    def _show(self) -> None:
        result = self.result
        equity = thin(result.equity, points=POINTS)
        under = thin(figures.drawdown_of(result), points=POINTS)
        waterfall = result.waterfall()
        mark = f"<b>{result.watermark}</b> · " if result.watermark else ""
        sharpe = waterfall["sharpe"].iloc[-1]
        with self.figure.batch_update():
            _, strategy, drawdown, layers = self.figure.data
            strategy.x, strategy.y = equity.index, equity.to_numpy()
            drawdown.x, drawdown.y = under.index, under.to_numpy()
            layers.x, layers.y = waterfall["sharpe"].to_numpy(), list(waterfall.index)
            self.figure.layout.title.text = (
                f"{mark}{type(result.strategy).__name__}, Sharpe ratio {sharpe:.2f}"
            )
        self.measures.value = _measure_table(result.measures())


def make_control(name: str, info: Any, value: Any) -> ipywidgets.Widget | None:
    """Return the control that fits a parameter's type and bounds; None where nothing does.

    A parameter that is None before the fit is estimated: it is not for a hand to move.
    """
    import ipywidgets as widgets

    about: dict[str, Any] = {
        "description": name.replace("_", " "),
        "tooltip": info.description or name,
        "style": {"description_width": "120px"},
        "layout": {"width": "345px"},
    }
    if isinstance(value, bool):
        return widgets.Checkbox(value=value, indent=False, **about)
    is_number = isinstance(value, int | float) and value == value and abs(value) != float("inf")
    if not is_number or info.default is None:
        return None
    low, high = bounds(info, value)
    if isinstance(value, int):
        return widgets.IntSlider(value=value, min=int(low), max=int(high), **about)
    # The value must lie on the slider's grid, or the browser moves it to the nearest point.
    step = (info.json_schema_extra or {}).get("step") or (abs(value) or high) / 20
    low = value - int((value - low) / step) * step
    return widgets.FloatSlider(
        value=value, min=low, max=high, step=step, readout_format=".3g", **about
    )


def bounds(info: Any, value: float) -> tuple[float, float]:
    """Return the range of a slider: the field's own bounds, within ten times the value."""
    low, high = value / 10 if value > 0 else value - 1, max(10 * value, 1)
    for limit in info.metadata:
        for key in ("ge", "gt"):
            if hasattr(limit, key):
                low = max(low, getattr(limit, key))
        for key in ("le", "lt"):
            if hasattr(limit, key):
                high = min(high, getattr(limit, key))
    return low, high


def _measure_table(measures: pd.Series) -> str:
    rows = "".join(
        f"<tr><td>{describe_name(name)}</td>"
        f'<td style="text-align:right;font-variant-numeric:tabular-nums">'
        f"{describe_value(name, measures[name])}</td></tr>"
        for name in SHOWN
    )
    return f'<table style="width:100%;font-size:12px;margin-top:8px">{rows}</table>'
