"""How the process of a proxy is started: arguments, environment, place."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from reference.agent import environment as agent_environment
from reference.supervisor.kernel import Launch
from reference.supervisor.linux import Linux
from tests.faulty import fault


@fault("custom/command/01")
def leaves_out_empty_arguments() -> None:
    """Leaves empty arguments out of the command of a proxy."""
    _launched(lambda launch: replace(launch, arguments=tuple(filter(None, launch.arguments))))


@fault("custom/command/02")
def searches_for_commands() -> None:
    """Looks along PATH for a command without a directory."""

    def found(launch: Launch) -> Launch:
        name = launch.arguments[0]
        return replace(launch, executable=shutil.which(name) or name) if "/" not in name else launch

    _launched(found)


@fault("environment/inherit/01")
def cuts_values_at_blanks() -> None:
    """Passes its environment on with every value cut at the first blank."""
    _launched(
        lambda launch: replace(
            launch, environment={name: text.partition(" ")[0] for name, text in launch.environment.items()}
        )
    )


@fault("environment/user/01")
def starts_proxies_in_the_root() -> None:
    """Starts proxies in the directory ``/``, not in its own."""
    _launched(lambda launch: replace(launch, directory="/"))


@fault("environment/identity/01")
def tells_nobody_who_it_is() -> None:
    """Starts custom proxies under the id of their service, not under their own."""

    def renamed(launch: Launch) -> Launch:
        given = dict(launch.environment)
        if "connect" not in launch.arguments:
            given["CONNECT_PROXY_ID"] = given["CONNECT_PROXY_ID"].removesuffix("-proxy")
        return replace(launch, environment=given)

    _launched(renamed)


@fault("custom/retrieve/01", "environment/address/01", "environment/address/02", "environment/address/03")
def leads_custom_proxies_astray() -> None:
    """Leads custom proxies to the default port of the API, wherever that is."""

    def astray(launch: Launch) -> Launch:
        given = dict(launch.environment)
        if "connect" not in launch.arguments:
            given["CONSUL_HTTP_ADDR"] = "127.0.0.1:8500"
        return replace(launch, environment=given)

    _launched(astray)


@fault("environment/address/02")
def leads_proxies_to_the_wildcard() -> None:
    """Leads proxies to 0.0.0.0 where its API listens on all addresses."""
    agent_environment._LOOPBACK_FOR = {}


@fault("environment/address/02")
def leads_proxies_to_the_wildcard_of_ipv6() -> None:
    """Leads proxies to ``::`` where its API listens on all addresses of both families."""
    agent_environment._LOOPBACK_FOR.pop("::")


@fault("environment/session/01")
def keeps_proxies_in_its_session() -> None:
    """Starts proxies in a process group of their own, and in its own session."""
    honest = subprocess.Popen.__init__

    def start(self: Any, *arguments: Any, start_new_session: bool = False, **rest: Any) -> None:
        honest(self, *arguments, process_group=0 if start_new_session else None, **rest)

    subprocess.Popen.__init__ = start  # type: ignore[method-assign,assignment]


@fault("environment/descriptors/01")
def leaks_descriptors() -> None:
    """Lets proxies inherit a file that it has open."""
    honest = Linux.launch

    def leaking(self: Linux, launch: Launch) -> Any:
        # Not all of them: with its sockets and its lock in other hands, no agent could ever start again.
        popen = subprocess.Popen
        with open(os.devnull) as leaked:
            os.set_inheritable(leaked.fileno(), True)
            try:
                setattr(subprocess, "Popen", partial(popen, close_fds=False))  # noqa: B010
                return honest(self, launch)
            finally:
                setattr(subprocess, "Popen", popen)  # noqa: B010

    Linux.launch = leaking  # type: ignore[method-assign]


def _launched(change: Callable[[Launch], Launch]) -> None:
    """Change each order to start a process, just before it is carried out."""
    honest = Linux.launch
    Linux.launch = lambda self, launch: honest(self, change(launch))  # type: ignore[method-assign]


@fault("token/secret/03")
def shows_tokens_in_command_lines() -> None:
    """Gives its built-in proxies their tokens by a flag, for every user of the machine to read."""
    _launched(
        lambda launch: (
            replace(
                launch, arguments=(*launch.arguments, "-token", launch.environment["CONNECT_PROXY_TOKEN"])
            )
            if "connect" in launch.arguments
            else launch
        )
    )
