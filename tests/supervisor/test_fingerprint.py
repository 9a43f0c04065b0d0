"""Which changes of a definition are a reason to replace a running proxy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reference.supervisor.fingerprint import fingerprint
from tests.supervisor.playbook import spec

BASE = replace(spec(), environment=(("A", "1"), ("SHLVL", "1")))


def test_the_order_of_the_environment_and_a_new_shell_are_none() -> None:
    assert fingerprint(
        replace(BASE, environment=(("SHLVL", "7"), ("A", "1"), ("SSH_TTY", "/dev/pts/0")))
    ) == fingerprint(BASE)


@pytest.mark.parametrize(
    "changed",
    [
        replace(BASE, command=("/bin/proxy", "-v")),
        replace(BASE, token="another"),
        replace(BASE, directory="/tmp"),
        replace(BASE, environment=(("A", "2"),)),
        replace(BASE, environment=()),
    ],
)
def test_command_token_directory_and_environment_are(changed: object) -> None:
    assert fingerprint(changed) != fingerprint(BASE)  # type: ignore[arg-type]
