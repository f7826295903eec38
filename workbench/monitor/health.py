"""Health checks: each looks at one thing and says green, yellow or red, and what to do."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from workbench.core.clock import Clock, SystemClock
from workbench.core.errors import ConfigError, ExchangeError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from workbench.core.config import Config, StoreSettings

Level = Literal["green", "yellow", "red"]

LEAST_PYTHON: Final = (3, 11)
LOW_DISK_GB: Final = 10.0
NO_DISK_GB: Final = 1.0
DRIFT: Final = timedelta(milliseconds=250)
"""A clock off by more deserves a look."""
REFUSED_DRIFT: Final = timedelta(seconds=1)
"""Bybit refuses requests stamped more than a second ahead of its own clock."""


@dataclass(frozen=True, slots=True)
class Check:
    """What one check saw; ``fix`` says what to do unless it is green."""

    name: str
    level: Level
    seen: str
    fix: str = ""


class Server(Protocol):
    """The part of the exchange client that health needs."""

    def server_time(self) -> datetime:
        """Return the exchange's time, UTC-aware."""


def examine(config: Config, *, root: Path, server: Server) -> Iterator[Check]:
    """Yield the checks of a set-up one by one, quick ones first."""
    needs_exchange = config.profile in ("paper", "live")
    looks: tuple[Callable[[], Check], ...] = (
        check_python,
        check_packages,
        partial(check_lock, root / "requirements.lock"),
        check_kernel,
        partial(check_disk, config.data_dir),
        partial(check_store, config.store),
    )
    for look in looks:
        yield look()
    yield from check_exchange(server, is_needed=needs_exchange)


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Check:
    """Say whether this Python is new enough."""
    seen = ".".join(map(str, version))
    if version < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        return Check("Python", "red", seen, f"Make the environment with Python {least} or newer.")
    return Check("Python", "green", seen)


def check_packages(package: str = "workbench") -> Check:
    """Say whether everything that the package itself requires is installed and new enough."""
    from packaging.requirements import Requirement

    fix = "Install again: pip install -r requirements.lock, then pip install --no-deps -e ."
    try:
        needs = [Requirement(line) for line in metadata.requires(package) or []]
    except metadata.PackageNotFoundError:
        return Check("packages", "red", f"{package} itself is not installed", fix)
    base = [need for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    wrong = [
        f"{need.name} {_installed(need.name) or 'is not installed'} (needs {need.specifier})"
        for need in base
        if not _fits(need)
    ]
    if wrong:
        return Check("packages", "red", ", ".join(wrong), fix)
    return Check("packages", "green", f"{len(base)} required, all here")


def check_lock(lock: Path) -> Check:
    """Say whether what is installed has the versions of the lock."""
    if not lock.is_file():
        return Check("lock", "green", "no requirements.lock here, nothing to compare")
    locked = [need for need in _read_lock(lock) if _installed(need.name)]
    other = [
        f"{need.name} {_installed(need.name)} ({need.specifier} locked)"
        for need in locked
        if not _fits(need)
    ]
    if other:
        return Check(
            "lock",
            "yellow",
            f"{len(other)} of {len(locked)} differ: {', '.join(other[:5])}",
            "For numbers that repeat, install the lock: pip install -r requirements.lock.",
        )
    return Check("lock", "green", f"{len(locked)} installed packages as locked")


def check_kernel(name: str = "python3") -> Check:
    """Say whether notebooks run under this same Python."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

        metadata.version("ipykernel")
    except (ModuleNotFoundError, metadata.PackageNotFoundError):
        return Check(
            "kernel",
            "yellow",
            "Jupyter is not installed: no notebooks here",
            "Install the extra: pip install 'workbench[research]'.",
        )
    fix = f"Run {sys.executable} -m ipykernel install --sys-prefix."
    try:
        spec = KernelSpecManager().get_kernel_spec(name)
    except NoSuchKernel:
        return Check("kernel", "red", f"no kernel is called {name}", fix)
    program = str(spec.argv[0])
    # Jupyter replaces a bare "python" by its own interpreter.
    if Path(program).name == program or _is_same(program, sys.executable):
        return Check("kernel", "green", f"{spec.display_name}, this Python")
    return Check("kernel", "red", f"{name} runs {program}, not this Python", fix)


def check_disk(
    data_dir: Path, *, free: Callable[[Path], float] = lambda place: shutil.disk_usage(place).free
) -> Check:
    """Say whether there is room for data, and leave to write them."""
    place = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        return Check("disk", "red", f"{place} cannot be written", "Set data_dir to another folder.")
    free_gb = free(place) / 1e9
    level: Level = "red" if free_gb < NO_DISK_GB else "yellow" if free_gb < LOW_DISK_GB else "green"
    fix = "" if level == "green" else f"Free some room, or set data_dir (now {data_dir}) elsewhere."
    return Check("disk", level, f"{free_gb:,.1f} GB free at {place}", fix)


def check_store(settings: StoreSettings) -> Check:
    """Say whether the store can be reached and has the schema of this version."""
    from workbench.store import schema
    from workbench.store.engine import configured_engine

    engine = None
    try:
        engine = configured_engine(settings)
        found = schema.status(engine)
    except ConfigError as error:
        return Check("store", "red", error.what, error.fix)
    finally:
        if engine is not None:
            engine.dispose()
    if found.is_current:
        return Check("store", "green", f"{found.url}, schema {found.revision}")
    if found.revision is None and found.url.startswith("sqlite"):
        return Check("store", "green", f"{found.url} is made at first use")
    seen = f"{found.url} has schema {found.revision or 'none'}, this version needs {found.head}"
    return Check("store", "red", seen, "Run `workbench db upgrade` (it keeps every row).")


def check_exchange(
    server: Server, *, is_needed: bool, clock: Clock | None = None
) -> tuple[Check, Check]:
    """Say whether the exchange answers, and how far this machine's clock is from its time."""
    clock = clock or SystemClock()
    before = clock.now()
    try:
        there = server.server_time()
    except ExchangeError as error:
        fix = (
            error.fix if is_needed else f"{error.fix} Synthetic and imported data work without it."
        )
        level: Level = "red" if is_needed else "yellow"
        return (
            Check("clock", "yellow", "nothing to compare it with", "Reach the exchange first."),
            Check("exchange", level, error.what, fix),
        )
    after = clock.now()
    answer = after - before
    return (
        _judge_clock(there - (before + answer / 2), answer / 2),
        Check("exchange", "green", f"answered in {answer / timedelta(milliseconds=1):,.0f} ms"),
    )


def _judge_clock(offset: timedelta, error: timedelta) -> Check:
    surely = max(abs(offset) - error, timedelta(0))
    millisecond = timedelta(milliseconds=1)
    way = "behind" if offset > timedelta(0) else "ahead of"
    seen = (
        f"{abs(offset) / millisecond:,.0f} ms {way} the exchange "
        f"(within {error / millisecond:,.0f} ms)"
    )
    if surely <= DRIFT:
        return Check("clock", "green", seen)
    level: Level = "red" if surely > REFUSED_DRIFT else "yellow"
    return Check(
        "clock", level, seen, "Let the system keep time by NTP (timedatectl set-ntp true)."
    )


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _fits(need: Requirement) -> bool:
    found = _installed(need.name)
    return bool(found) and need.specifier.contains(found, prereleases=True)


def _read_lock(lock: Path) -> list[Requirement]:
    from packaging.requirements import Requirement

    lines = (line.split(" --hash")[0] for line in lock.read_text(encoding="utf-8").splitlines())
    needs = [Requirement(line.rstrip("\\ ")) for line in lines if line[:1].isalnum()]
    return [need for need in needs if need.marker is None or need.marker.evaluate()]


def _is_same(left: str, right: str) -> bool:
    # Environments link to one interpreter, so links must not be resolved beyond the folder.
    return os.path.normcase(Path(left).absolute()) == os.path.normcase(Path(right).absolute())
