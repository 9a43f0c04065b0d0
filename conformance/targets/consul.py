"""A binary of the original: which version it is, and whether that version has what is judged here.

Managed proxies came with 1.2.0 and went with 1.6.0 (document: Introduction).
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from conformance.requirements.register import Feature, version_of
from conformance.targets.errors import TargetError
from conformance.targets.program import OneFile
from conformance.targets.target import ALL_FEATURES, CommandLineTarget

#: The known failures of releases, one file each.
EXPECTED = Path(__file__).parent / "expected"
_FIRST, _REMOVED = (1, 2, 0), (1, 6, 0)
_SECONDS = 30.0


def consul(binary: str, *, probe: tuple[str, ...]) -> CommandLineTarget:
    """The target of a binary. Raises :class:`TargetError` when it is none, or has no managed proxies."""
    try:
        finished = subprocess.run(
            [binary, "version"], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"--binary {binary} cannot be asked for its version: {error}") from error
    told = re.search(r"Consul v(\d+\.\d+\.\d+)", finished.stdout)
    if told is None:
        raise TargetError(
            f'--binary {binary} does not say "Consul v…" when asked for its version; '
            "judge other programs with --target process"
        )
    version = told[1]
    if version_of(version) >= _REMOVED:
        raise TargetError(
            f"Consul {version} has no managed proxies: version 1.6.0 removed them; use 1.2 to 1.5"
        )
    if version_of(version) < _FIRST:
        raise TargetError(
            f"Consul {version} has no managed proxies yet: they came with 1.2.0; use 1.2 to 1.5"
        )
    known = EXPECTED / f"consul-{version}.toml"
    return CommandLineTarget(
        name="consul",
        prefix=(binary, "agent"),
        program=OneFile(path=Path(binary), arguments=("agent",)),
        probe=probe,
        version=version,
        features=ALL_FEATURES - {Feature.OPERATIONS},
        expected=known if known.exists() else None,
    )
