"""Kernels for jobs: always this interpreter, never one that outlives its run."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import zmq
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import ensure_event_loop
from traitlets import default

COMMAND = (sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}")


class Leash:
    """Holds the kernels of one run, so that they can be stopped at any moment, from anywhere."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.is_stopped = False
        self._env = dict(env)
        self._processes: list[subprocess.Popen[bytes]] = []

    def manager_class(self) -> type[AsyncKernelManager]:
        """Return a kernel manager for this run: its interpreter, its environment, its leash."""
        leash = self
        spec = KernelSpec(
            argv=list(COMMAND),
            display_name="Python 3",
            language="python",
            env=leash._env,
            metadata={"supported_encryption": "curve"},
        )

        class JobKernelManager(AsyncKernelManager):  # type: ignore[misc, unused-ignore]
            @property
            def kernel_spec(self) -> KernelSpec:
                # A spec named python3 in the user's folders may belong to another interpreter.
                return spec

            @default("transport_encryption")
            def _encrypt(self) -> str:
                # Other users of this machine can reach the ports of a kernel.
                return "auto" if zmq.has("curve") else "disabled"

            async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
                leash.check()
                await super()._async_launch_kernel(kernel_cmd, **kw)
                provisioner: Any = self.provisioner
                leash._processes.append(provisioner.process)
                leash.check()

            _launch_kernel = _async_launch_kernel

        return JobKernelManager

    def check(self) -> None:
        """Raise if the run is stopped, after ending what has been started."""
        if self.is_stopped:
            self.end()
            raise InterruptedError

    def stop(self) -> None:
        """Stop the run: its kernel ends now, and no other starts."""
        self.is_stopped = True
        self.end()

    def end(self) -> None:
        """End every kernel of the run with all its child processes; again is harmless."""
        for process in self._processes:
            # The kernel leads a process group of its own: its children go with it. A process
            # that has been waited for may have given its number to another.
            if process.poll() is None:
                with suppress(ProcessLookupError, PermissionError):
                    _kill(process)


@contextmanager
def own_loop() -> Iterator[None]:
    """Close the event loop that jupyter_client opens for a thread and leaves behind."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        loop = ensure_event_loop()
    else:
        # Inside a notebook the loop is not ours.
        yield
        return
    try:
        yield
    finally:
        loop.close()
        # Whoever serves from this thread next must not find the closed one.
        asyncio.set_event_loop(None)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
