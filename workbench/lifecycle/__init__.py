"""Lifecycle: the stages of a strategy, what moves it between them, and the money each is worth.

Everything is read from an append-only book in the store; what may trade is what the book says.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "book": ["Book"],
        "evaluation": ["Desk", "Outcome", "Report", "evaluate", "judge_records", "report"],
        "moves": [
            "Enable",
            "admit_to_paper",
            "demote",
            "enter",
            "promote",
            "recover",
            "retire",
        ],
        "prediction": ["Prediction", "predict", "shortfall"],
        "records": ["Records", "measure_records"],
        "rights": [
            "Proof",
            "admit",
            "compare_decisions",
            "inherit",
            "override",
            "renew",
            "revoke",
            "scale",
        ],
        "score": ["graduation_score"],
        "standing": ["Standing"],
    },
)
