"""The reference cases' methods that ``workbench.portfolio`` answers, by name."""

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd


def hierarchical(cov: Any) -> dict[str, Any]:
    """Weights and order of the symbols; skfolio loads for this case alone."""
    from workbench.portfolio import allocation

    table = pd.DataFrame(cov)
    names = table.columns.astype(str)
    covariance = table.set_axis(names).set_axis(names, axis=1)
    moments = allocation.Moments(pd.Series(0.0, names), covariance)
    ask = allocation._Ask(moments, allocation.Constraints(), 1.0, None, {}, None)
    model = allocation.METHODS["hrp"].build(ask).fit(pd.DataFrame(0.0, range(2), names))
    return {
        "weights": allocation.allocate(moments, method="hrp").weights.tolist(),
        "order": model.seriation_estimator_.ordering_.tolist(),
    }


ADAPTERS: Mapping[str, Callable[..., dict[str, Any]]] = {"hrp": hierarchical}
