"""Whether two specs are the same proxy, in a form that may be stored: a hash, since a spec holds secrets."""

from __future__ import annotations

import hashlib
import json

from reference.supervisor.spec import ProxySpec

#: Set anew by shells and login sessions. Were they counted, every restart of an agent by hand would replace every
#: proxy, which is what the document promises not to happen (Lifecycle).
VOLATILE = frozenset(
    {
        "_",
        "DBUS_SESSION_BUS_ADDRESS",
        "OLDPWD",
        "PWD",
        "SHLVL",
        "SSH_AUTH_SOCK",
        "SSH_CLIENT",
        "SSH_CONNECTION",
        "SSH_TTY",
        "WINDOWID",
        "XDG_SESSION_ID",
    }
)


def fingerprint(spec: ProxySpec) -> str:
    """Equal for specs between which a running proxy need not be replaced (MP-LIFE-014), hexadecimal.

    Command, directory, token, id and the environment count; variables in :data:`VOLATILE` and the launcher do not.
    """
    environment = {name: value for name, value in spec.environment if name not in VOLATILE}
    identity = [spec.proxy_id, spec.token, spec.command, spec.directory, environment]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
