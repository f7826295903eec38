"""Sockets: market data, the account and orders as events, supervised, whole and in order."""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "book": ["OrderBook"],
        "connection": ["Socket"],
        "mailbox": ["Counters", "Event", "Lapse", "Mailbox", "Recent"],
        "private": ["Gap", "PrivateStream", "Refill"],
        "public": ["PublicStream"],
        "timing": ["ConnectionBudget", "Timing"],
        "trade": ["Gate", "TradeSocket"],
    },
)
