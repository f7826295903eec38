"""Protects the errors: what and fix survive pickling, and the tree means what it says."""

import pickle

import pytest

from workbench.core import errors

ALL = [c for c in vars(errors).values() if isinstance(c, type)]


@pytest.mark.parametrize("kind", ALL)
def test_error_pickled_keeps_what_and_fix(kind):
    error = pickle.loads(pickle.dumps(kind("It broke.", "Mend it.")))
    assert (type(error), error.what, error.fix) == (kind, "It broke.", "Mend it.")
    assert str(error) == "It broke. Mend it."


def test_every_error_is_named_in_the_tree_of_the_module():
    assert all(c.__name__ in errors.__doc__ for c in ALL)


def test_unknown_order_is_not_a_rejected_one():
    assert not issubclass(errors.OrderUnknown, errors.OrderRejected)
    assert issubclass(errors.BreakerOpen, errors.RiskRefused)
