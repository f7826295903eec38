"""Jobs: run a parameterised notebook as a recorded, reproducible run.

papermill and nbconvert load when a notebook runs; ``record`` is what notebooks call.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "metrics": ["read_measures", "record"],
        "parameters": ["Parameter", "bind_parameters", "read_parameters"],
        "process": ["shown_status"],
        "run": ["JobResult", "run_notebook"],
    },
)
