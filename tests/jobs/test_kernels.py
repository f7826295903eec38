"""Protects the thread that runs a job: nothing of the job's stays behind in it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from tornado.ioloop import IOLoop

from workbench.jobs.kernels import own_loop


def in_a_thread(work):
    """Run it where no other test has left a loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result(timeout=30)


def test_own_loop_when_left_leaves_the_thread_free_to_serve():
    def work():
        with own_loop():
            loop = asyncio.get_event_loop_policy().get_event_loop()
        fresh = IOLoop(make_current=False)
        with pytest.raises(RuntimeError):
            asyncio.get_event_loop_policy().get_event_loop()
        answer = fresh.run_sync(lambda: asyncio.sleep(0, result="served"))
        fresh.close(all_fds=True)
        return loop.is_closed(), answer

    assert in_a_thread(work) == (True, "served")


def test_own_loop_inside_a_running_loop_leaves_it_alone():
    async def inside():
        with own_loop():
            pass
        return asyncio.get_running_loop().is_closed()

    assert in_a_thread(lambda: asyncio.run(inside())) is False


def test_own_loop_body_that_fails_is_cleaned_up_too():
    loops = []

    def work():
        with own_loop():
            loops.append(asyncio.get_event_loop_policy().get_event_loop())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        in_a_thread(work)
    assert loops[0].is_closed()
