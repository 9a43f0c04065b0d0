"""One session of pytest over checks, with settings of our own, or a lab without any; both leave nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from conformance.budgets import Budgets
from conformance.instruments.history import History
from conformance.instruments.processes import adopt_orphans
from conformance.plugin.discovery import Check
from conformance.plugin.hooks import OPTION
from conformance.plugin.household import end_run
from conformance.plugin.lab import Lab
from conformance.plugin.settings import RunSettings
from conformance.targets import Target
from conformance.targets.privileges import Privileges

_CONFIGURATION = Path(__file__).with_name("pytest.ini")
_SWEEP_SECONDS = 10.0


def execute(
    settings: Callable[[Path], RunSettings],
    checks: Sequence[Check],
    *,
    workers: int,
    collector: object,
    around: Callable[[Path], AbstractContextManager[None]] = lambda folder: nullcontext(),
    arguments: Sequence[str] = (),
) -> bool:
    """Run the checks; ``collector`` is the plugin that hears of them. Whether it was interrupted.

    ``settings`` are made for the folder of the labs, and ``around`` is entered with it, if given; ``workers`` of 0
    means: in this process; ``arguments`` are more of pytest's.
    """
    # Everybody must be able to pass through this folder: agents run as other users.
    folder = Path(tempfile.mkdtemp(prefix="proxyproof-", dir=passable_folder()))
    folder.chmod(0o755)
    parallel = ("-n", str(workers), "--dist", "load", "--maxschedchunk", "1")
    command = [
        *("-c", str(_CONFIGURATION), "--rootdir", str(checks[0].path.parent), "--noconftest"),
        *("-p", "no:cacheprovider", "-p", "conformance.plugin.hooks", "-p", "xdist.plugin"),
        *(parallel if workers else ()),
        *("--continue-on-collection-errors", f"{OPTION}={settings(folder).encode()}"),
        *arguments,
        *(check.node_id for check in checks),
    ]
    try:
        with _own_environment(), _termination_as_interrupt(), around(folder):
            pytest.main(command, plugins=[collector])
    except KeyboardInterrupt:
        return True
    finally:
        _sweep(folder)
    return False


@contextmanager
def lone_lab(target: Target, privileges: Privileges, budgets: Budgets) -> Iterator[Lab]:
    """A lab that is no check's, in this process."""
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="proxyproof-", dir=passable_folder()) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with _termination_as_interrupt(), target.run(folder):
            lab = Lab(run=folder, target=target, privileges=privileges, budgets=budgets, history=History())
            try:
                yield lab
            finally:
                lab.close()


def _sweep(folder: Path) -> None:
    """End what a worker that died could not end itself."""
    deadline = time.monotonic() + _SWEEP_SECONDS
    while end_run(folder.name) and time.monotonic() < deadline:
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own_environment() -> Iterator[None]:
    """Hide from pytest what its environment says: a run is the same wherever it is started."""
    before = dict(os.environ)
    for name in [name for name in before if name.startswith("PYTEST_")]:
        del os.environ[name]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """SIGTERM clears away as Ctrl-C does; while clearing away, neither is heard again."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def passable_folder() -> str:
    """The folder for temporary files, unless it is private: then the one that is nobody's own."""
    folder = Path(tempfile.gettempdir()).resolve()
    private = any(not parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))
    return "/tmp" if private else str(folder)  # noqa: S108 (mkdtemp makes the folder inside it safely)
