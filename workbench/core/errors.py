"""The errors of the workbench, and what each of them does to the process that meets it.

::

    WorkbenchError
    ├── ConfigError        the process does not start
    │   └── SecretError
    ├── DataError          the run stops
    │   └── LeakError
    ├── ModelError         the strategy holds flat
    ├── EvidenceError      the stage stays
    ├── RiskRefused        the order is dropped and logged
    │   └── BreakerOpen
    ├── ExchangeError
    │   ├── ExchangeBusy   retry later
    │   ├── OrderRejected  ends the order
    │   └── OrderUnknown   reconcile, never resend
    ├── ReconcileError     trading halts
    └── JobError           the job is marked failed
"""


class WorkbenchError(Exception):
    """Say what was seen and what to do about it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} {self.fix}"


class ConfigError(WorkbenchError):
    """The configuration cannot be used: the process does not start."""


class SecretError(ConfigError):
    """A secret is missing, unreadable or too powerful: the process does not start."""


class DataError(WorkbenchError):
    """The data cannot be trusted for this use: the run stops."""


class LeakError(DataError):
    """Something reads the future: the run stops."""


class ModelError(WorkbenchError):
    """A strategy or model cannot answer: the strategy holds flat."""


class EvidenceError(WorkbenchError):
    """Evidence is missing or no longer valid: the stage stays."""


class RiskRefused(WorkbenchError):
    """Risk refuses an order: it is dropped and logged."""


class BreakerOpen(RiskRefused):
    """A circuit breaker is open: entries are dropped until it closes."""


class ExchangeError(WorkbenchError):
    """The exchange refused or did not answer a request."""


class ExchangeBusy(ExchangeError):
    """The exchange asks to slow down: retry later."""


class OrderRejected(ExchangeError):
    """The exchange refused an order: the order has ended."""


class OrderUnknown(ExchangeError):
    """The fate of an order is unknown: reconcile, never resend."""


class ReconcileError(WorkbenchError):
    """The books differ from the exchange: trading halts."""


class JobError(WorkbenchError):
    """A notebook job failed: its run is marked failed."""
