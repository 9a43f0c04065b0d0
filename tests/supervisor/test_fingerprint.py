"""Which changes of a definition are a reason to replace a running proxy."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reference.supervisor.fingerprint import fingerprint
from tests.supervisor.playbook import spec

BASE = replace(spec(), environment=(("A", "1"), ("SHLVL", "1")))


def test_the_order_of_the_environment_and_a_new_shell_are_none() -> None:
    one, two = (
        replace(BASE, environment=(*BASE.environment, ("B", "2"))),
        replace(BASE, environment=(("B", "2"), ("SHLVL", "7"), ("A", "1"), ("SSH_TTY", "/dev/pts/0"))),
    )
    assert fingerprint(one) == fingerprint(two)


def test_an_upgrade_that_moves_the_agents_program_is_none() -> None:
    old, new = (
        replace(BASE, launcher=(f"/opt/{version}/proxyproof",), command=("connect", "proxy"))
        for version in (1, 2)
    )
    assert fingerprint(old) == fingerprint(new)


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
