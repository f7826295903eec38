"""Figures of an evaluation, in plotly: each title states the finding and carries the watermark.

Blue is what holds and red what does not; a shape or a word always says the same as the colour.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "choice": [
            "deflation", "degradation", "dominance", "luck", "null", "overfitting", "permutation",
        ],
        "course": ["fan", "leaks", "paths", "prediction", "trials", "walk_forward"],
        "strain": ["episodes", "ladders", "monte_carlo", "ruin", "shocks"],
        "surface": ["plateau", "start_dates"],
    },
)  # fmt: skip
