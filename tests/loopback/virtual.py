"""A loop whose clock jumps to the next timer when nothing is under way: real sockets, no waiting.

Client and server run in it together. Bytes on loopback have arrived when ``send`` returns, so a
selector that finds nothing within ``GRACE_S`` has nothing to wait for but a timer.
"""

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

GRACE_S = 0.0005
START = datetime(2026, 7, 1, 12, tzinfo=UTC)


class JumpingSelector(selectors.DefaultSelector):
    """Waits for sockets a moment at most, then moves the time on by what it was to wait."""

    now = 0.0

    def select(self, timeout=None):
        ready = super().select(min(timeout, GRACE_S) if timeout is not None else 1.0)
        if not ready and timeout is None:
            raise AssertionError("everything waits for something that will never come")
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time that starts at 0."""

    def __init__(self):
        self.selector = JumpingSelector()
        super().__init__(self.selector)

    def time(self):
        return self.selector.now

    def run_in_executor(self, executor, call, *args):
        # A thread takes real time, which does not exist here: its work is done at once.
        done = self.create_future()
        try:
            done.set_result(call(*args))
        except Exception as error:
            done.set_exception(error)
        return done


class LoopClock:
    """The package's clock on the time of a loop."""

    def __init__(self, loop=None):
        self.loop = loop

    def now(self):
        loop = self.loop or asyncio.get_running_loop()
        return START + timedelta(seconds=loop.time())

    def sleep(self, seconds):
        raise AssertionError("nothing in a loop may block it")


def run(main):
    """Run a coroutine to its end on virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(asyncio.wait_for(main, 36_000))
