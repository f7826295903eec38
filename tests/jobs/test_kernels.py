"""Protects the thread that runs a job: nothing of the job's stays behind in it."""

import asyncio

import pytest
from tornado.ioloop import IOLoop

from workbench.jobs.kernels import own_loop


def test_own_loop_when_left_leaves_the_thread_free_to_serve():
    with own_loop():
        loop = asyncio.get_event_loop_policy().get_event_loop()

    assert loop.is_closed()
    fresh = IOLoop.current()
    answer = fresh.run_sync(lambda: asyncio.sleep(0, result="served"))
    fresh.close(all_fds=True)
    asyncio.set_event_loop(None)
    assert answer == "served"


def test_own_loop_inside_a_running_loop_leaves_it_alone():
    async def inside():
        with own_loop():
            pass
        return asyncio.get_running_loop().is_closed()

    assert asyncio.run(inside()) is False


def test_own_loop_body_that_fails_is_cleaned_up_too():
    loops = []

    def fail():
        with own_loop():
            loops.append(asyncio.get_event_loop_policy().get_event_loop())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert loops[0].is_closed()
