"""A wheel built from the tree installs and runs where there is no checkout, data files included."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from uv import find_uv_bin

CHECKOUT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    finished = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def uv(*arguments: str | Path, cwd: Path) -> None:
    run(find_uv_bin(), *arguments, "--quiet", cwd=cwd)


@pytest.fixture(scope="module")
def outside() -> Iterator[Path]:
    # Not tmp_path: its folders are closed to the unprivileged user that the suite runs agents as.
    with tempfile.TemporaryDirectory(prefix="proxyproof-wheel-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def wheel(outside: Path) -> Path:
    uv("build", "--wheel", "--out-dir", "dist", CHECKOUT, cwd=outside)
    (built,) = (outside / "dist").glob("proxyproof-*.whl")
    return built


@pytest.fixture(scope="module")
def command(outside: Path, wheel: Path) -> Path:
    uv("venv", "--python", sys.executable, "clean", cwd=outside)
    # Compiled, for the suite runs agents as a user who may not write there.
    uv("pip", "install", "--python", "clean/bin/python", "--compile-bytecode", wheel, cwd=outside)
    return outside / "clean/bin/proxyproof"


def test_the_wheel_puts_three_packages_and_no_data_folder_into_site_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.partition("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "conformance",
        "proxyproof",
        "reference",
    }
    shipped = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "conformance").rglob("*.toml")}
    assert shipped
    assert shipped <= set(names)


def test_the_data_files_are_found(outside: Path, command: Path) -> None:
    program = "from proxyproof.data import path; print(path('fixtures', 'definitions'))"
    found = Path(run(command.parent / "python", "-c", program, cwd=outside).strip())
    assert found.is_relative_to(outside)
    assert list(found.iterdir())


def test_the_stories_are_told(outside: Path, command: Path) -> None:
    told = run(command, "scenarios", "run", "crash-loop", "--world", "simulated", cwd=outside)
    assert told.splitlines()[-1] == "1 fulfilled"


def test_the_register_is_listed(outside: Path, command: Path) -> None:
    assert "security/root/01" in run(command, "requirements", "list", cwd=outside)


def test_the_suite_judges_the_reference(outside: Path, command: Path) -> None:
    run(
        command,
        "run",
        "security/root",
        "logs/capture",
        "--target",
        "reference",
        "--report",
        "report",
        cwd=outside,
    )
    assert (outside / "report/report.json").is_file()
