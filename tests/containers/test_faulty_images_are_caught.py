"""Each faulty agent that only containers can show fails what it breaks, and nothing else, when it is an image."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from tests.containers.judging import NEXT_AGENT, judge
from tests.faulty import Fault, load_all

FAULTS = load_all(in_container=True)
_FAULTY = "proxyproof/faulty:latest"
_TESTS = Path(__file__).parents[1]
_DOCKERFILE = f"FROM {NEXT_AGENT}\nCOPY tests /opt/lies/tests\n"


@pytest.fixture(scope="module")
def faulty(
    client: docker.DockerClient, images: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An image of the agent with all faults beside it."""
    folder = tmp_path_factory.mktemp("faulty")
    (folder / "Dockerfile").write_text(_DOCKERFILE)
    shutil.copytree(
        _TESTS / "faulty", folder / "tests" / "faulty", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "tests" / "__init__.py").touch()
    client.images.build(path=str(folder), tag=_FAULTY, network_mode="none", rm=True, forcerm=True)
    yield _FAULTY
    client.images.remove(_FAULTY, force=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in FAULTS.items()])
def test_the_lie_fails_what_it_breaks_and_nothing_else(fault: Fault, faulty: str, tmp_path: Path) -> None:
    command = f"python3 /opt/lies/tests/faulty {fault.name} agent"
    # As in the kill matrix: whether what does not happen is late or never does not matter here.
    limits = ("--command", command, "--patience", "1", "-n", "4")
    code, report = judge(tmp_path, "containers", "lifecycle/start/01", *limits, image=faulty)
    verdicts = {check.requirement: check.verdict.word for check in report.checks}
    assert {requirement for requirement, word in verdicts.items() if word == "fail"} == fault.breaks
    assert set(verdicts.values()) == {"pass", "fail"}
    assert code == 1
