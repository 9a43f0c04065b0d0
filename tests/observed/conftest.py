"""The suite's own laboratory, with the reference in it: it starts agents as an ordinary user and clears away."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import budgets
from conformance.instruments.history import History
from conformance.instruments.processes import adopt_orphans
from conformance.plugin.lab import Lab
from conformance.targets import Target, TargetChoice, resolve
from conformance.targets.privileges import Privileges

#: What is compared here is what happens, not how soon.
_PATIENT = 4.0


@pytest.fixture(scope="session")
def target() -> Target:
    return resolve(TargetChoice())


@pytest.fixture(scope="session")
def privileges(target: Target) -> Privileges:
    adopt_orphans()
    return target.privileges(None)


@pytest.fixture
def lab(target: Target, privileges: Privileges) -> Iterator[Lab]:
    # Everybody must be able to pass through this folder: agents run as another user.
    folder = Path(tempfile.mkdtemp(prefix="proxyproof-", dir="/tmp"))
    folder.chmod(0o755)
    made = Lab(
        run=folder,
        target=target,
        privileges=privileges,
        budgets=budgets.load(_PATIENT),
        history=History(),
    )
    try:
        yield made
    finally:
        made.close()
        shutil.rmtree(folder, ignore_errors=True)
