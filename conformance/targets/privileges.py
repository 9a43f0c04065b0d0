"""As whom agents run, so that both sides of the root rule are tested on any machine.

====================  ==================================================================================
the suite runs as     an unprivileged agent is started by
====================  ==================================================================================
root                  ``setpriv`` to the other user; where that user cannot execute the target,
                      ``setpriv`` with the ambient capability to read any file; otherwise a user namespace
anyone else           nothing: it is the suite's own user
====================  ==================================================================================

Effective uid 0 is the suite's own when it runs as root, and otherwise that of a user namespace. Each way is tried
before it is chosen: it must execute the target, and the suite must be able to read what it started. Where
no way works, checks that need one are skipped with the reason.
"""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance.targets.errors import TargetError

#: The uid and gid that Linux calls nobody.
NOBODY = 65534
_PROBE_SECONDS = 60.0
#: The probe proxies of the checks run under this interpreter, as children of the agent.
_INTERPRETER = (os.path.realpath(sys.executable), "-I", "-S", "-c", "pass")


@dataclass(frozen=True, kw_only=True)
class Access:
    """A way to run something as somebody: ``prefix`` goes before the command, ``uid`` owns its files."""

    way: str
    prefix: tuple[str, ...]
    uid: int
    gid: int


@dataclass(frozen=True, kw_only=True)
class Privileges:
    """The chosen ways; ``None`` where this machine offers none, with the reason beside it."""

    unprivileged: Access | None
    root: Access | None
    no_unprivileged: str = ""
    no_root: str = ""


def determine(user: str | None, probe: Sequence[str]) -> Privileges:
    """Find the ways for the suite's own user. ``user`` is a name or number, for a suite that runs as root.

    Raises :class:`~conformance.targets.target.TargetError` for a user that does not exist, is root, or is given to
    a suite that cannot change users.
    """
    uid, gid = os.geteuid(), os.getegid()
    own = Access(way="the user who runs the suite", prefix=(), uid=uid, gid=gid)
    if uid == 0:
        target_uid, target_gid = _account(user) if user else (NOBODY, NOBODY)
        unprivileged = next(_working(_to_user(target_uid, target_gid), probe), None)
        return Privileges(
            unprivileged=unprivileged,
            root=own,
            no_unprivileged=""
            if unprivileged
            else f"no way was found for user {target_uid} to execute the target; --user names another",
        )
    if user:
        raise TargetError("--user needs a suite that runs as root; agents run as the current user otherwise")
    root = next(_working([_namespace_root(uid, gid)], probe), None)
    return Privileges(
        unprivileged=own,
        root=root,
        no_root=""
        if root
        else "effective uid 0 needs root or a user namespace, and this machine permits neither",
    )


def _account(user: str) -> tuple[int, int]:
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
        uid, gid = entry.pw_uid, entry.pw_gid
    except KeyError:
        if not user.isdigit():
            raise TargetError(f"--user {user}: no such user; name an existing one or a number") from None
        uid = gid = int(user)
    if uid == 0:
        raise TargetError(f"--user {user} is root; name an unprivileged user")
    return uid, gid


def _to_user(uid: int, gid: int) -> list[Access]:
    drop = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    read_any = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    namespace = ("unshare", "--user", f"--map-user={uid}", f"--map-group={gid}")
    return [
        Access(way=f"setpriv to uid {uid}", prefix=drop, uid=uid, gid=gid),
        Access(
            way=f"setpriv to uid {uid} with CAP_DAC_READ_SEARCH", prefix=drop + read_any, uid=uid, gid=gid
        ),
        # Inside the namespace the agent sees ``uid``; to the files it stays root, who therefore owns them.
        Access(way=f"user namespace with uid {uid}", prefix=namespace, uid=0, gid=0),
    ]


def _namespace_root(uid: int, gid: int) -> Access:
    return Access(
        way="user namespace with uid 0", prefix=("unshare", "--user", "--map-root-user"), uid=uid, gid=gid
    )


def _working(candidates: Sequence[Access], probe: Sequence[str]) -> Iterator[Access]:
    return (
        access
        for access in candidates
        if _executes(access, probe) and _executes(access, _INTERPRETER) and _is_observable(access)
    )


def _executes(access: Access, probe: Sequence[str]) -> bool:
    # Through a shell, because setpriv still has root's capabilities when it executes its own argument, and
    # an agent must be able to execute itself again: that is how it starts its proxies.
    indirect = ("/bin/sh", "-c", 'exec "$0" "$@"', *probe)
    try:
        finished = subprocess.run(
            [*access.prefix, *indirect], cwd="/", capture_output=True, timeout=_PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return finished.returncode == 0


def _is_observable(access: Access) -> bool:
    """Whether the suite can read the environment of what it starts this way: proxies are recognised by it."""
    with subprocess.Popen(
        [*access.prefix, "cat"], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        try:
            assert running.stdin is not None
            assert running.stdout is not None
            running.stdin.write(b"?")
            running.stdin.flush()
            running.stdout.read(1)  # now it is ``cat`` itself that runs
            Path(f"/proc/{running.pid}/environ").read_bytes()
        except OSError:
            return False
        finally:
            running.kill()
    return True
