"""Both sides of the root rule can be tried here: an agent without privileges, and one with effective uid 0."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conformance.targets import TargetChoice, TargetError, resolve
from conformance.targets.privileges import Access, Privileges, determine

WHO = (sys.executable, "-c", "import os, decimal; print(os.geteuid())")


@pytest.fixture(scope="module")
def privileges() -> Privileges:
    return resolve(TargetChoice()).privileges(None)


def euid(access: Access) -> int:
    shell = ["/bin/sh", "-c", 'exec "$0" "$@"', *WHO]
    return int(subprocess.run([*access.prefix, *shell], cwd="/", capture_output=True, check=True).stdout)


def test_unprivileged_agents_are_not_root(privileges: Privileges) -> None:
    assert privileges.unprivileged is not None, privileges.no_unprivileged
    assert euid(privileges.unprivileged) != 0
    assert privileges.unprivileged.way


def test_root_agents_are_root_or_there_is_a_reason(privileges: Privileges) -> None:
    if privileges.root is None:
        assert "user namespace" in privileges.no_root
    else:
        assert euid(privileges.root) == 0


def test_another_user_is_root_s_to_choose() -> None:
    if os.geteuid() == 0:
        chosen = determine("12345", WHO).unprivileged
        assert chosen is not None
        assert euid(chosen) == 12345
    else:
        with pytest.raises(TargetError, match="--user needs a suite that runs as root"):
            determine("nobody", ("true",))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses users")
@pytest.mark.parametrize(
    ("user", "complaint"), [("no-such-user", "no such user"), ("root", "is root"), ("0", "is root")]
)
def test_a_user_that_cannot_be_used_is_named(user: str, complaint: str) -> None:
    with pytest.raises(TargetError, match=complaint):
        determine(user, ("true",))


@pytest.mark.skipif(os.geteuid() != 0, reason="anyone else runs what they can run")
def test_a_target_that_nobody_can_execute_leaves_no_way() -> None:
    none = determine(None, ("false",))
    assert none.unprivileged is None
    assert "--user names another" in none.no_unprivileged
