"""The return codes of Bybit's V5 interface: what each means, and what it says about a request.

The outcome decides what may follow. ``REJECTED``: the request had no effect and never will.
``RETRY_LATER``: no effect, and the same request may be sent again. ``CLOCK``: no effect, the
time stamp was off. ``UNKNOWN``: it may have had its effect; ask, and do not send again. ``DONE``:
what was asked for is so already. A code that is not in the table is a refusal where its number
lies among those of business rules, and unknown where it does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Outcome(StrEnum):
    """What a reply says about the request."""

    REJECTED = "rejected"
    RETRY_LATER = "retry later"
    CLOCK = "clock"
    UNKNOWN = "unknown"
    DONE = "already done"


class Code(NamedTuple):
    """A return code; for the actions in ``done_for`` it says that there is nothing left to do."""

    number: int
    meaning: str
    outcome: Outcome
    done_for: tuple[str, ...] = ()


RETRY_LATER: Final[Mapping[int, str]] = {
    10006: "Too many requests in this second.",
    10018: "Too many requests from this address.",
    10429: "Too many requests over the trade socket.",
    20003: "Too many requests in this session.",
    110079: "The order is being processed; it cannot be changed yet.",
    170005: "Too many orders in this second.",
    170222: "Too many requests in this time frame.",
}
UNKNOWN: Final[Mapping[int, str]] = {
    10000: "The exchange timed out.",
    10016: "The exchange has an error of its own.",
    10019: "The trade socket is restarting.",
    170146: "Creating the order timed out.",
    170147: "Cancelling the order timed out.",
}
CLOCK: Final[Mapping[int, str]] = {10002: "The time stamp lies outside the receive window."}
KEY: Final[Mapping[int, str]] = {
    10003: "The API key is not valid, or belongs to another environment.",
    10004: "The signature is wrong.",
    10005: "The API key lacks the permission.",
    10007: "The user could not be authenticated.",
    10008: "The user is banned.",
    10009: "This address is banned.",
    10010: "The API key is bound to other addresses.",
    10024: "Compliance rules forbid it.",
    10027: "Transactions of this account are banned.",
    10403: "The address lacks the right to this socket.",
    33004: "The API key has expired.",
}
"""Refusals that no other request will escape: a person must look at the key."""
REFUSED: Final[Mapping[int, str]] = {
    10001: "A parameter is wrong.",
    10014: "The request is a duplicate.",
    10017: "There is no such path or method.",
    10029: "The symbol is not one that may be traded here.",
    10032: "Demo trading does not support this.",
    10404: "There is no such operation on the trade socket.",
    20001: "The trade socket is not authenticated.",
    20006: "The request id was used before.",
    30208: "The price is above the highest that is taken.",
    30209: "The price is below the lowest that is taken.",
    110001: "There is no such order.",
    110003: "The price lies outside the price range.",
    110004: "The wallet balance is too small.",
    110005: "The position is not in the state for it.",
    110006: "The assets are estimated to be below the margin of the position.",
    110007: "The available balance is too small.",
    110008: "The order is filled or cancelled already.",
    110009: "There are too many conditional orders.",
    110010: "The order is cancelled already.",
    110011: "The position is in liquidation.",
    110012: "The available balance is too small.",
    110013: "The leverage is above what the risk limit allows.",
    110014: "The available balance is too small to add margin.",
    110015: "The position is on cross margin.",
    110016: "The quantity or risk limit is above what is allowed.",
    110017: "A reduce-only order would not reduce anything.",
    110018: "The user does not exist.",
    110019: "The order id is not valid.",
    110020: "There are 500 open orders already.",
    110021: "The position would pass the limit of open interest.",
    110022: "The quantity was cut to zero by reduce-only rules.",
    110023: "The symbol allows only orders that reduce a position.",
    110024: "The position mode cannot change while a position is open.",
    110025: "The position mode is as asked for already.",
    110026: "The margin mode is as asked for already.",
    110028: "The position mode cannot change while orders are open.",
    110030: "The order id is doubled.",
    110031: "The order cannot be amended.",
    110032: "The price is not valid.",
    110033: "The margin of the position cannot change: there is none.",
    110034: "There is no net position.",
    110043: "The leverage is as asked for already.",
    110044: "The available margin is too small.",
    110045: "The wallet balance is too small.",
    110057: "The parameters of take-profit or stop-loss are wrong.",
    110058: "Take-profit and stop-loss cannot be set on this order.",
    110059: "Take-profit and stop-loss of this mode cannot change.",
    110060: "The take-profit lies on the wrong side of the price.",
    110061: "There are too many take-profit and stop-loss orders.",
    110064: "The amended quantity is below what is filled.",
    110072: "The order link id was used before.",
    110074: "The contract is not live.",
    110090: "The position would pass the limit of its size.",
    110092: "The trigger must lie above the price for a rise.",
    110093: "The trigger must lie below the price for a fall.",
    110094: "The value of the order is below the minimum.",
    110120: "The price of the purchase is above the price limit.",
    110121: "The price of the sale is below the price limit.",
    170121: "The symbol is not valid.",
    170124: "The amount is too large.",
    170131: "The balance is too small.",
    170132: "The price is too high.",
    170133: "The price is too low.",
    170134: "The price has too many decimals.",
    170135: "The quantity is too large.",
    170136: "The quantity is too small.",
    170137: "The quantity has too many decimals.",
    170139: "The order is filled already.",
    170140: "The value of the order is below the minimum.",
    170141: "The order link id was used before.",
    170142: "The order is cancelled already.",
    170143: "There is no such order to cancel.",
    170213: "There is no such order.",
    170810: "There are too many open orders.",
}
DONE_FOR: Final[Mapping[int, tuple[str, ...]]] = {
    110001: ("cancel",),
    110008: ("cancel",),
    110010: ("cancel",),
    110025: ("switch-mode",),
    110026: ("set-margin-mode",),
    110043: ("set-leverage",),
    110072: ("resend",),
    170139: ("cancel",),
    170141: ("resend",),
    170142: ("cancel",),
    170143: ("cancel",),
    170213: ("cancel",),
}
"""The action (the end of its path, or a resend) for which a refusal says: it is so already."""

CODES: Final[Mapping[int, Code]] = {
    number: Code(number, meaning, outcome, DONE_FOR.get(number, ()))
    for outcome, meanings in (
        (Outcome.RETRY_LATER, RETRY_LATER),
        (Outcome.UNKNOWN, UNKNOWN),
        (Outcome.CLOCK, CLOCK),
        (Outcome.REJECTED, KEY),
        (Outcome.REJECTED, REFUSED),
    )
    for number, meaning in meanings.items()
}
_BUSINESS: Final = (range(30_000, 40_000), range(110_000, 200_000), range(3_100_000, 3_500_000))


def find_outcome(number: int, action: str = "") -> Outcome:
    """Return what a return code says about a request for an action, such as ``cancel``."""
    code = CODES.get(number)
    if code is None:
        is_refusal = any(number in numbers for numbers in _BUSINESS)
        return Outcome.REJECTED if is_refusal else Outcome.UNKNOWN
    return Outcome.DONE if action in code.done_for else code.outcome


def describe(number: int, message: str = "") -> str:
    """Return a code in words, with the exchange's own."""
    meaning = CODES[number].meaning if number in CODES else "The code is not known here."
    return f"{number}: {meaning}" + (f" The exchange says: {message}." if message else "")
