"""Protects the live path: all of the room but the allocation loads no fitting library."""

import subprocess
import sys

LIGHT = ["accounting", "attribution", "budgets", "history", "rebalance"]
HEAVY = ["arch", "numba", "scipy", "skfolio", "sklearn", "statsmodels"]


def test_light_modules_load_nothing_heavy():
    code = f"from workbench.portfolio import {', '.join(LIGHT)}\n"
    code += f"import sys\nprint(*[name for name in {HEAVY!r} if name in sys.modules])"
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout.split() == []
