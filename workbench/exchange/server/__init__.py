"""The V5 face of the simulated exchange: REST and four sockets on one loopback port.

``Exchange`` is the exchange without its sockets, ``serving`` puts it on a port.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "app": ["build_server", "listen", "machine_ms", "serving"],
        "auth": ["ApiKey"],
        "calls": ["Reply", "Request"],
        "faults": ["Fault", "Scenario", "list_scenarios", "load_scenario"],
        "journal": ["Journal", "read_journal"],
        "limits": ["LimitRules"],
        "playback": ["replay"],
        "exchange": ["ServerSettings", "Exchange"],
    },
)
