"""The planner: from what is to be held to the next orders, from fills and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal

from workbench.core.errors import WorkbenchError
from workbench.exchange.records import ZERO
from workbench.exchange.requests import AmendRequest, OrderRequest
from workbench.exchange.wire import from_millis
from workbench.exchange.words import OrderType, Side, TpslMode
from workbench.execution.books import Crossing, Shares, cross, divide
from workbench.execution.checks import Checks
from workbench.execution.courier import Act, Courier
from workbench.execution.desk import Desk
from workbench.execution.memory import Plan, Task, Working
from workbench.execution.orders import State
from workbench.execution.parents import Child, Progress, Step
from workbench.execution.parents import Working as Open
from workbench.execution.stops import protect
from workbench.execution.venue import make_link

Advise = Callable[[Task, Side, int, Progress], Step]
"""From a task, its side and lots in all, and what became of them, to what to do now."""
PLAIN = frozenset({"market", "limit"})


class Planner:
    """One symbol at a time: one task, and orders of that task only."""

    def __init__(self, desk: Desk, checks: Checks, courier: Courier, advise: Advise | None) -> None:
        self.desk, self.checks, self.courier, self._advise = desk, checks, courier, advise

    def drive(self, symbol: str) -> Iterator[Act]:
        """Mark what no task wants any more, plan what the task wants next; yield what to await."""
        desk, trades = self.desk, self.desk.memory.trades(symbol)
        task = desk.memory.tasks.get(symbol)
        if task is not None and (words := self._end_of(task)):
            desk.close(task, words)
            task = None
        mine = [own for own in trades if task is not None and own.plan.cause == task.cause]
        for own in trades:
            if task is None or own not in mine:
                own.unwanted = own.unwanted or "it belongs to no task that stands"
            elif not task.is_exit and not own.plan.claims.keys() <= task.targets.keys():
                own.unwanted = own.unwanted or "who it is for was taken out of the position"
            elif 0 < own.plan.expires_ms <= desk.now_ms:
                own.unwanted = own.unwanted or "its time ran out"
        if task is None:
            return
        if self._rests(task) and not mine:
            return
        if task.is_exit or (len(mine) == len(trades) and desk.is_open()):
            yield from self._trade(task, mine)

    def _end_of(self, task: Task) -> str:
        memory = self.desk.memory
        if task.is_exit:
            # Until everything is closed: there is nobody who would ask again.
            return ""
        if task.expires_ms <= self.desk.now_ms:
            return "its time ran out: what is not filled is given up"
        if task.style.group and any(
            own.plan.group == _group(task) and own.symbol != task.symbol and own.life.fills
            for own in memory.orders.values()
        ):
            return "another of its group was filled"
        last = memory.last.get((task.cause, task.symbol))
        return "" if last is None or self._goes_on(task, last) else (
            f"its last order was {last.life.state}, filled {last.life.filled:f}: "
            "the rest waits for a decision"
        )  # fmt: skip

    def _rests(self, task: Task) -> bool:
        # An exit that found nobody to trade with waits a little longer each time.
        last = self.desk.memory.last.get((task.cause, task.symbol))
        if not task.is_exit or last is None or last.life.filled:
            return False
        count, patience = self.desk.memory.counters[task.cause, task.symbol], self.desk.patience
        wait = min(patience.first_s * 2.0 ** min(count - 1, 16), patience.last_s)
        return self.desk.now_ms < last.sent_ms + int(wait * 1000)

    def _goes_on(self, task: Task, last: Working) -> bool:
        state, request = last.life.state, last.plan.request
        if state is State.REJECTED:
            return False
        is_market = request.order_type == OrderType.MARKET
        is_worked = task.style.algorithm not in PLAIN
        return state is State.FILLED or is_worked or (is_market and bool(last.life.filled))

    def _trade(self, task: Task, mine: list[Working]) -> Iterator[Act]:
        desk, symbol = self.desk, task.symbol
        held = desk.books.held(symbol)
        targets = dict.fromkeys(held, ZERO) if task.is_exit else task.targets
        wants = {name: own - held.get(name, ZERO) for name, own in targets.items()}
        refusals: list[str] = []
        if not task.is_exit:
            wants, refusals = self.checks.permitted(wants, held)
        is_crossed = True
        if not mine:
            wants, is_crossed = self._cross(task, wants)
        net = sum(wants.values(), ZERO)
        if not net and not mine and is_crossed:
            desk.close(task, "; ".join(refusals) or "everything is as decided")
        if not net:
            return
        for words in refusals:
            desk.tell("drop", symbol, task.cause, words)
        step, side = desk.instruments[symbol].qty_step, Side.BUY if net > 0 else Side.SELL
        done = max(desk.memory.traded.get((task.cause, symbol), ZERO) * side.sign, ZERO)
        progress = Progress(int(done / step), tuple(self._open(own, step) for own in mine))
        advise = _at_once if task.is_exit or task.style.algorithm in PLAIN else self._advise
        if advise is None:
            desk.close(task, f"nothing here works {task.style.algorithm}: the engine must")
            return
        for own in mine:
            for name, claim in desk.books.claims(own.life.link).items():
                wants[name] = wants.get(name, ZERO) - claim
        yield from self._follow(
            task, advise(task, side, int((done + abs(net)) / step), progress), wants
        )

    def _cross(self, task: Task, wants: Shares) -> tuple[Shares, bool]:
        desk, symbol = self.desk, task.symbol
        crossed, rest = cross(wants, desk.instruments[symbol].qty_step)
        if crossed:
            quote = self.checks.fresh_quote(symbol)
            if quote is None:
                desk.tell("drop", symbol, task.cause, "No price at which strategies could cross.")
                return rest, False
            number = desk.memory.crossings.get(symbol, 0)
            name = f"cross/{task.cause}/{symbol}/{number}"
            desk.commit(Crossing(name, symbol, crossed, quote.mid, desk.clock.now()))
            whose = ", ".join(f"{own} {qty:+f}" for own, qty in sorted(crossed.items()))
            desk.tell("fill", symbol, name, f"crossed at {quote.mid:f}: {whose}")
        return rest, True

    def _open(self, own: Working, step: Decimal) -> Open:
        request, state = own.plan.request, own.life.state
        return Open(
            order=own.life.link,
            lots=int(own.life.left / step),
            price=request.price if own.life.row is None else own.life.row.price,
            since=from_millis(own.sent_ms),
            is_resting=request.price is not None and state in (State.OPEN, State.PARTLY_FILLED),
            is_ending=bool(own.unwanted) or state is State.CANCELLING,
        )

    def _follow(self, task: Task, step: Step, wants: Shares) -> Iterator[Act]:
        for child in step.children:
            if not child.order:
                self._plan(task, child, wants)
                continue
            own = self.desk.memory.orders[child.order]
            if not child.lots:
                own.unwanted = own.unwanted or step.words
            elif not (own.is_busy or own.is_missed) and own.due <= self.desk.clock.now():
                request = AmendRequest(
                    symbol=task.symbol, order_link_id=child.order, price=child.price
                )
                yield self.courier.amend(own, request)

    def _plan(self, task: Task, child: Child, wants: Shares) -> None:
        desk, own = self.desk, self.desk.instruments[task.symbol]
        net = sum(wants.values(), ZERO)
        most = own.max_market_qty if child.price is None else own.max_qty
        qty = min(child.lots * own.qty_step, abs(net), most)
        size = desk.books.net(task.symbol)
        closing = min(qty, abs(size)) if size * net < 0 else ZERO
        words = ""
        for part in dict.fromkeys((qty, closing)):
            if not part:
                break
            is_closing = task.is_exit or part == closing
            alike = {name: want for name, want in wants.items() if want * net > 0}
            claims = divide(part.copy_sign(net), alike, own.qty_step)
            request = self._request(task, child, claims, is_closing=is_closing)
            try:
                self.checks.check(request)
            except WorkbenchError as error:
                words = str(error)
                desk.tell("drop", task.symbol, request.order_link_id, words)
                continue
            for name, claim in claims.items():
                wants[name] -= claim
            self._commit(task, request, claims)
            return
        desk.close(task, words or "nothing of it can be sent")

    def _commit(self, task: Task, request: OrderRequest, claims: Shares) -> None:
        now, ttl = self.desk.now_ms, task.style.ttl_s
        self.desk.commit(
            Plan(
                request=request,
                cause=task.cause,
                decision=task.decision,
                claims=claims,
                at_ms=now,
                expires_ms=0 if ttl is None else now + int(ttl * 1_000),
                brackets={name: own for name, own in task.brackets.items() if name in claims},
                group=_group(task),
            )
        )

    def _request(
        self, task: Task, child: Child, claims: Shares, *, is_closing: bool
    ) -> OrderRequest:
        net = sum(claims.values(), ZERO)
        number = self.desk.memory.counters.get((task.cause, task.symbol), 0)
        is_market = child.price is None
        stop = None if is_closing else self._stop(task, claims)
        return OrderRequest(
            symbol=task.symbol,
            side=Side.BUY if net > 0 else Side.SELL,
            order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
            qty=abs(net),
            order_link_id=make_link(task.cause, task.symbol, number),
            price=child.price,
            time_in_force=None if is_market else child.time_in_force,
            reduce_only=is_closing,
            stop_loss=stop,
            tpsl_mode=TpslMode.NONE if stop is None else TpslMode.FULL,
        )

    def _stop(self, task: Task, claims: Shares) -> Decimal | None:
        # The stop of the position as it will be when all of the order is filled.
        desk, symbol, own = self.desk, task.symbol, self.desk.instruments[task.symbol]
        quote, before = desk.quote(symbol), desk.books.held(symbol)
        after = {name: before.get(name, ZERO) + claims.get(name, ZERO) for name in before | claims}
        size = sum(after.values(), ZERO)
        if not size or quote is None:
            return None
        known = desk.memory.brackets_of(symbol)
        picked = {
            name: known.get(name) if before.get(name, ZERO) * qty > 0 else task.brackets.get(name)
            for name, qty in after.items()
        }
        brackets = {name: own for name, own in picked.items() if own is not None}
        bare = desk.bare_level(quote.last, size, own)
        return protect(size, after, brackets, tick=own.tick_size, step=own.qty_step, bare=bare).stop


def _group(task: Task) -> str:
    return f"{task.cause}/{task.style.group}" if task.style.group else ""


def _at_once(task: Task, side: Side, lots: int, progress: Progress) -> Step:
    if progress.working:
        return Step((), "waits for what is out")
    price = None if task.is_exit else task.style.price
    child = Child(lots - progress.filled, price, task.style.time_in_force)
    return Step((child,), "sends what is left")
