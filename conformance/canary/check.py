"""The check that must fail."""

from __future__ import annotations

import pytest

from conformance.canary import CAUGHT
from conformance.canary.liar import COMMAND
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement
from conformance.plugin.settings import Variant
from conformance.targets import TargetChoice


@pytest.fixture
def variant() -> Variant:
    """The liar, whatever the run is about."""
    return Variant(name="canary", target=TargetChoice(kind="process", command=COMMAND))


@requirement("canary/lie/01")
def check_canary(lab: Lab) -> None:
    """Define a service, and look whether the agent knows it."""
    agent = lab.agent(definitions=[lab.service("web")])
    assert "web" in agent.services(), CAUGHT
