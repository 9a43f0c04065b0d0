"""What several areas begin with: two services that talk through their proxies, and the few words they share.

A check that can do without the built-in proxy uses a probe instead (``lab.probe_proxy``): it starts faster and
tells what it was given.
"""

from __future__ import annotations

import hashlib
import re
import signal
import socket
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from conformance.bench.load import MESSAGE
from conformance.instruments.api import ApiClient, Response
from conformance.instruments.identities import Identity, agent_roots
from conformance.instruments.probe_proxy import ProbeProxy, ProbeStart
from conformance.instruments.processes import Process
from conformance.instruments.tls import TlsServer
from conformance.plugin.lab import AgentUnderTest, Lab

Item = TypeVar("Item")

#: The agent option that permits managed proxies over the HTTP API.
ALLOW_API: Mapping[str, Any] = {"connect": {"proxy": {"allow_managed_api_registration": True}}}
#: A proxy whose service counts as healthy at once: a check that is about something else need not wait for health.
HEALTHY_AT_ONCE: Mapping[str, Any] = {"disable_tcp_check": True}

#: The command of a custom proxy that does nothing, and starts in no time.
IDLE = ["/bin/sleep", "600"]

_CHUNK = 32 * 1024


def supervision(**options: Any) -> dict[str, Any]:
    """Agent options that set ``connect.proxy.supervision``: how proxies are restarted, stopped and logged."""
    return {"connect": {"proxy": {"supervision": options}}}


def only(items: Collection[Item]) -> Item:
    """The one item of an answer, which must have one."""
    assert len(items) == 1, f"expected one, got {len(items)}: {items!r}"
    return next(iter(items))


def content(path: Path) -> bytes:
    """What a file of the agent holds; nothing when the agent has not made it."""
    return path.read_bytes() if path.is_file() else b""


def variable(proxy: Process | ProbeStart, name: str) -> str:
    """A variable of a proxy's environment, which must have it."""
    environment = proxy.environment if isinstance(proxy, ProbeStart) else proxy.environment()
    assert name in environment, f"the environment of the proxy lacks {name}"
    return environment[name]


def token_of(proxy: Process | ProbeStart) -> str:
    """The token that a proxy was given."""
    return variable(proxy, "CONNECT_PROXY_TOKEN")


def refused(response: Response) -> bool:
    """Whether the agent said no. The document promises refusals, never their status."""
    return 400 <= response.status < 600


def accepted(response: Response) -> Response:
    """The response, which must be a success."""
    assert response.status == 200, f"expected success, got {response.status}: {response.text[:300]}"
    return response


def proxy_config(agent: AgentUnderTest, proxy_id: str) -> Mapping[str, Any]:
    """The answer of the proxy configuration endpoint."""
    answer = accepted(agent.api.get(f"/v1/agent/connect/proxy/{proxy_id}")).json
    assert isinstance(answer, dict), f"expected an object, got {answer!r}"
    return answer


def register(
    agent: AgentUnderTest, name: str, *, port: int, proxy: Mapping[str, Any] | None, service_id: str = ""
) -> Response:
    """Register a service over the HTTP API; ``proxy`` has the API's spelling (``Command``, ``Config``, …)."""
    body: dict[str, Any] = {"Name": name, "Port": port}
    if service_id:
        body["ID"] = service_id
    if proxy is not None:
        body["Connect"] = {"Proxy": proxy}
    return agent.api.put("/v1/agent/service/register", body)


def deregister(agent: AgentUnderTest, service_id: str) -> Response:
    """Deregister a service over the HTTP API."""
    return agent.api.put(f"/v1/agent/service/deregister/{service_id}")


def payload(size: int) -> bytes:
    """Bytes without a pattern that a relay could get right by accident; the same in every run."""
    return hashlib.shake_128(b"payload").digest(size)


def converse(connection: socket.socket, data: bytes) -> bytes:
    """Send ``data`` in pieces and read each piece's echo; what was read until then when the connection ends."""
    received = bytearray()
    try:
        for start in range(0, len(data), _CHUNK):
            connection.sendall(data[start : start + _CHUNK])
            while len(received) < min(start + _CHUNK, len(data)):
                if not (piece := connection.recv(_CHUNK)):
                    return bytes(received)
                received += piece
    except OSError:
        pass
    return bytes(received)


def exchange(port: int, data: bytes, *, host: str = "127.0.0.1", timeout: float = 10.0) -> bytes:
    """What an echoing application sends back on a connection of its own; empty when nobody listens."""
    try:
        with socket.create_connection((host, port), timeout) as connection:
            return converse(connection, data)
    except OSError:
        return b""


def connects(port: int, *, host: str = "127.0.0.1") -> bool:
    """Whether a TCP connection is accepted."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


def needs_ipv6(lab: Lab, address: str) -> None:
    """Skip the check where nobody can listen on this address of IPv6."""
    try:
        socket.create_server((address, 0), family=socket.AF_INET6).close()
    except OSError as error:
        lab.skip(f"this machine has no {address}: {error}")


def rest(lab: Lab, *processes: Process) -> float:
    """Watch for a while that none takes as much as a fifth of a processor; how long that was (s)."""
    before, began = [process.cpu() for process in processes], time.monotonic()
    lab.holds("observation", lambda: all(process.alive() for process in processes), what="they live on")
    seconds = time.monotonic() - began
    for process, cpu in zip(processes, before, strict=True):
        share = (process.cpu() - cpu) / seconds
        assert share < 0.2, f"{' '.join(process.argv()[:4])} takes {share:.0%} of a processor"
    return seconds


def assert_ends(connection: socket.socket, *, otherwise: str) -> None:
    """Wait for the end of a connection on which nothing comes; a reset is an end as well, a time-out is not.

    ``otherwise`` is what to say of one that is still open.
    """
    try:
        assert connection.recv(1) == b""
    except TimeoutError:
        raise AssertionError(otherwise) from None
    except ConnectionError:
        pass


def idle_web(lab: Lab) -> dict[str, Any]:
    """Service ``web`` with a custom proxy that does nothing, and starts in no time."""
    return lab.service("web", port=8080, proxy={"command": IDLE})


def recorded(lab: Lab, agent: AgentUnderTest, *proxies: Process) -> None:
    """Wait until the agent has stored which processes run: it is given a second for that (MP-SNAP-001)."""
    assert agent.data_dir is not None
    record = agent.data_dir / "proxy" / "snapshot.json"

    def stored() -> bool:
        text = record.read_text() if record.exists() else ""
        return all(re.search(rf"\b{proxy.pid}\b", text) for proxy in proxies)

    lab.until("state_written", stored, what=f"{record.name} holds the running processes")


def end(proxy: Process, number: signal.Signals = signal.SIGKILL) -> None:
    """Make sure that a proxy has been signalled. One that is gone already is another requirement's business."""
    with suppress(ProcessLookupError):
        proxy.signal(number)


def reloaded(lab: Lab, agent: AgentUnderTest, *definitions: Mapping[str, Any]) -> None:
    """Reload with these definitions and a service beside them whose appearance tells that the reload is over."""
    agent.reload(definitions=[*definitions, lab.service("newcomer")])
    lab.until("agent_reload", lambda: "newcomer" in agent.services(), what="the reload is over")


def starts(lab: Lab, probe: ProbeProxy, count: int) -> list[ProbeStart]:
    """Wait until a probe was started ``count`` times and return these starts."""
    lab.until(
        "proxy_restart", lambda: len(probe.starts()) >= count, what=f"start number {count} of the proxy"
    )
    return probe.starts()[:count]


def may_register(name: str) -> str:
    """Rules of a token for the services of a definition: those whose names begin so, and their node.

    Whichever is registered first at a node describes the node as well, which takes a permission of its own.
    """
    return f'service "{name}" {{ policy = "write" }} node "" {{ policy = "write" }}'


def closed(
    lab: Lab,
    *definitions: Mapping[str, Any],
    rules: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    **configuration: Any,
) -> AgentUnderTest:
    """An agent with access control and a default policy of deny, which the suite asks with a management token.

    ``rules`` are the secrets of tokens with their rules, in the form before version 1.4, where every name is a
    prefix; they are there before the agent reads ``definitions``.
    """
    master = str(uuid.uuid4())
    access = {
        "acl_datacenter": "dc1",
        "acl_default_policy": "deny",
        "acl_master_token": master,
        "acl_agent_token": master,
        **(options or {}),
    }
    agent = lab.agent(options=access, token=master, **configuration)
    for secret, text in (rules or {}).items():
        lab.history.hide(secret)
        body = {"ID": secret, "Name": "of the suite", "Type": "client", "Rules": text}
        lab.until(
            "authority",
            lambda body=body: accepted(agent.api.put("/v1/acl/create", body)),  # type: ignore[misc]
            what="a token is made",
        )
    if definitions:
        agent.reload(definitions=definitions)
        wanted = {definition["service"]["name"] for definition in definitions}
        lab.until("agent_reload", lambda: wanted <= agent.services().keys(), what="the definitions are read")
    return agent


class Application(Protocol):
    """What stands behind the proxy of ``redis``, and echoes what begins as :data:`MESSAGE` does."""

    @property
    def port(self) -> int:
        """On loopback."""


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Service ``web``, whose upstream port leads through both managed proxies to service ``redis``."""

    agent: AgentUnderTest
    upstream_port: int
    #: The definitions of the pair with these upstream ports of ``web``, for a reload.
    definitions: Callable[..., Sequence[Mapping[str, Any]]]
    #: How long each step of a connection may take (s).
    patience: float

    def connect(self) -> socket.socket:
        """A connection of ``web`` to ``redis``."""
        return socket.create_connection(("127.0.0.1", self.upstream_port), timeout=self.patience)

    def exchange(self, data: bytes) -> bytes:
        """Send to ``redis`` as ``web`` and return what comes back."""
        return exchange(self.upstream_port, data)


def mesh(
    lab: Lab,
    application: Application,
    *,
    also: Sequence[int] = (),
    redis: Mapping[str, Any] = HEALTHY_AT_ONCE,
    options: Mapping[str, Any] | None = None,
) -> Mesh:
    """Start the pair and wait until it carries bytes.

    ``also`` are more upstream ports of ``web`` to the same destination, ``redis`` is the config of its proxy.
    """
    port, web_port = lab.port(), lab.port()

    def definitions(*ports: int) -> Sequence[Mapping[str, Any]]:
        upstreams = [{"destination_name": "redis", "local_bind_port": each} for each in ports]
        return [
            lab.service("redis", port=application.port, proxy={"config": redis}),
            lab.service("web", port=web_port, proxy={"config": HEALTHY_AT_ONCE, "upstreams": upstreams}),
        ]

    agent = lab.agent(definitions=definitions(port, *also), options=options)
    pair = Mesh(agent=agent, upstream_port=port, definitions=definitions, patience=lab.budget("data_path"))
    lab.until(
        "data_path", lambda: pair.exchange(MESSAGE) == MESSAGE, what="the pair of proxies carries bytes"
    )
    return pair


def first_leaf(lab: Lab, agent: AgentUnderTest, service: str, *, token: str | None = None) -> Response:
    """The answer with the leaf of ``service``, as soon as it is issued.

    It is not asked for before there is a root: some releases (1.3.1) never answer who comes earlier.
    """
    lab.until("authority", lambda: agent_roots(agent.api), what="there is a root")
    path = f"/v1/agent/connect/ca/leaf/{service}"
    return lab.until(
        "authority",
        lambda: accepted(agent.api.get(path, token=token)),
        what=f"the leaf of {service} is issued",
    )


@dataclass(frozen=True, kw_only=True)
class NativePeer:
    """A Connect-native instance of ``redis`` that is the suite's own, and the port through which ``web`` reaches it."""

    agent: AgentUnderTest
    server: TlsServer
    upstream_port: int


def native_peer(lab: Lab, *, identity: Callable[[ApiClient], Identity]) -> NativePeer:
    """Start an agent with ``web`` and the peer, whose ``identity`` is made when the agent's API is there to ask."""
    port, upstream = lab.port(), lab.port()
    agent = lab.agent(
        definitions=[
            lab.service("redis", port=port, connect={"native": True}),
            lab.service(
                "web", proxy={"upstreams": [{"destination_name": "redis", "local_bind_port": upstream}]}
            ),
        ]
    )
    leaf = lab.until("authority", lambda: identity(agent.api), what="the identity of the peer is made")
    server = lab.use(TlsServer(leaf, roots=agent_roots(agent.api), port=port))
    lab.until("proxy_listens", lambda: connects(upstream), what="the upstream listens")
    return NativePeer(agent=agent, server=server, upstream_port=upstream)


def forge(agent: AgentUnderTest, proxy: Process, other: int, *, started: int | None = None) -> None:
    """Write another pid for that of ``proxy`` wherever the agent stored it, as if the kernel had given it away.

    With ``started`` the start time of the process is replaced, too, for agents that store one.
    """
    assert agent.data_dir is not None
    folder = agent.data_dir / "proxy"
    for path in (folder / "snapshot.json", *folder.glob("pids/*.pid")):
        text = re.sub(rf"\b{proxy.pid}\b", str(other), path.read_text())
        if started is not None:
            text = re.sub(rf"\b{proxy.started}\b", str(started), text)
        path.write_text(text)
