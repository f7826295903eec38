"""Strategies: the contract, its probes, and six honest examples with their sources."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "base": ["Brackets", "Held", "Intent", "SteppedStrategy", "Strategy", "quantise"],
        "breakout": ["DonchianBreakout"],
        "carry": ["FundingCarry"],
        "crossover": ["MovingAverageCross"],
        "crosssection": ["CrossSectionalMomentum"],
        "hold": ["BuyAndHold"],
        "identity": ["decision_hash", "strategy_hash"],
        "momentum": ["TimeSeriesMomentum"],
        "pairs": ["CointegratedPair"],
        "probe": ["LookbackReport", "probe_lookback"],
        "registry": ["list_strategies", "load_strategy"],
        "signals": ["from_signals"],
    },
)
