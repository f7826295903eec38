"""Execution: from a decision to fills that are booked, through an exchange that may fail at will.

``orders`` is the pure life of one order, ``books`` says whose each fill is, ``memory`` adds up what
the journal holds, and ``manager`` has it all done: ``planner`` decides on the next orders,
``checks`` refuses, ``courier`` sends and finds out, ``guard`` protects. Nothing here knows how the
exchange is reached: that is ``venue``. ``algorithms`` divides large orders, ``analytics`` says what
they cost.

``algorithms`` cuts a large order into small ones, ``choice`` picks which by the ``condition`` of
the market; ``analytics`` says what orders cost, ``calibration`` what the next backtest assumes.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "algorithms": ["next_step"],
        "analytics": ["compare_algorithms", "measure_orders", "split_shortfall"],
        "books": ["VirtualBooks"],
        "calibration": ["fit_impact", "measured_costs"],
        "choice": ["choose_algorithm"],
        "condition": ["assess"],
        "manager": ["OrderManager"],
        "memory": ["Style"],
        "orders": ["Fact", "Life", "State", "advance"],
        "venue": ["Event", "Journal", "OrderLimits", "Patience", "Quote", "Venue"],
        "parents": ["Algorithm", "Parent", "Urgency"],
    },
)
