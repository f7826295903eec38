"""Protects the live path: what it takes from risk loads no fitting library, and no scipy early."""

import subprocess
import sys

LIGHT = ["breakers", "components", "dependence", "diversity", "drawdown", "extremes", "forecast",
         "hedge", "kelly", "margin", "regime", "scenarios", "sizing", "stress", "tails",
         "vartests", "volatility"]  # fmt: skip
HEAVY = ["arch", "numba", "scipy", "skfolio", "sklearn", "statsmodels"]
USE = """
import numpy as np
x = np.random.default_rng(0).standard_normal(300)
tails.historical(x), tails.normal(x), tails.cornish_fisher(x)
tails.filtered_historical(x, variance=volatility.ewma(x**2, start=1.0))
extremes.peaks_over_threshold(x), forecast.revert(1.0, 0.1, 0.9, 24)
"""


def test_light_modules_load_nothing_heavy():
    code = f"from workbench.risk import {', '.join(LIGHT)}\n{USE}"
    code += f"import sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.split() == []
