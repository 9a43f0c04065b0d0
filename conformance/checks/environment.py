"""The environment of the proxy process: what it is told, and what keeps it apart from the agent."""

from __future__ import annotations

import trustme

from conformance.checks._situations import mesh, needs_ipv6, only, starts, token_of, variable
from conformance.instruments.echo import EchoServer
from conformance.instruments.processes import Process
from conformance.plugin.lab import AgentUnderTest, Lab
from conformance.plugin.marks import requirement

IDLE = {"command": ["/bin/sleep", "600"]}


@requirement("environment/identity/01")
def check_proxy_knows_who_it_is(lab: Lab) -> None:
    """Start an agent with a custom managed proxy that records its environment.

    It holds its proxy id in ``CONNECT_PROXY_ID`` and a token in ``CONNECT_PROXY_TOKEN``.
    Source: document, Custom Managed Proxy.
    """
    probe = lab.probe_proxy()
    lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    start = only(starts(lab, probe, 1))
    assert variable(start, "CONNECT_PROXY_ID") == "web-proxy"
    assert token_of(start)


@requirement("environment/address/01")
def check_proxy_knows_its_agent(lab: Lab) -> None:
    """Read ``CONSUL_HTTP_ADDR`` in the environment of a managed proxy.

    It names a loopback address and the port of the agent's HTTP API. Source: document, Custom Managed Proxy.
    """
    agent, proxy = _started(lab)
    assert _address(proxy) in _loopback(agent.http_port)


@requirement("environment/address/02")
def check_wildcard_becomes_loopback(lab: Lab) -> None:
    """Let the agent's HTTP API listen on all addresses and read ``CONSUL_HTTP_ADDR`` of a managed proxy.

    It names a loopback address, not the wildcard. Source: catalogue.
    """
    agent, proxy = _started(lab, flags=["-client", "0.0.0.0"])
    assert _address(proxy) in _loopback(agent.http_port)


@requirement("environment/address/02")
def check_wildcard_of_ipv6_becomes_loopback(lab: Lab) -> None:
    """Give the agent an HTTPS port on all addresses, those of IPv6 included, and read ``CONSUL_HTTP_ADDR``.

    It names a loopback address of either family, not the wildcard. Source: catalogue.
    """
    needs_ipv6(lab, "::")
    port = lab.port()
    options = {"ports": {"https": port}, "addresses": {"https": "::"}, **_certificate(lab)}
    _, proxy = _started(lab, options=options)
    assert variable(proxy, "CONSUL_HTTP_ADDR").removeprefix("https://") in _loopback(port)


@requirement("environment/address/03")
def check_https_comes_first(lab: Lab) -> None:
    """Give the agent an HTTPS port beside the plain one, with a certificate of trustme, and read the environment.

    The variables lead to the HTTPS port, and to the authority that vouches for it. Source: catalogue; before 1.2.1
    proxies could not reach an agent that spoke HTTPS alone.
    """
    port, files = lab.port(), _certificate(lab)
    _, proxy = _started(lab, options={"ports": {"https": port}, **files})
    assert variable(proxy, "CONSUL_HTTP_ADDR").removeprefix("https://") == f"127.0.0.1:{port}"
    assert variable(proxy, "CONSUL_HTTP_SSL") == "true"
    assert variable(proxy, "CONSUL_CACERT") == files["ca_file"]


@requirement("environment/address/04")
def check_agent_on_a_socket_is_reached(lab: Lab) -> None:
    """Let the agent's HTTP API listen on a unix socket alone, and send bytes through two default proxies.

    They arrive, and ``CONSUL_HTTP_ADDR`` of the proxies names the socket. Source: catalogue.
    """
    path = lab.workspace / "agent.sock"
    pair = mesh(lab, lab.use(EchoServer()), options={"addresses": {"http": f"unix://{path}"}})
    assert {variable(proxy, "CONSUL_HTTP_ADDR") for proxy in pair.agent.proxies()} == {f"unix://{path}"}


@requirement("environment/address/05")
def check_agent_with_https_alone_is_reached(lab: Lab) -> None:
    """Give the agent an HTTPS port and no plain one, and send bytes through two default proxies.

    They arrive. Source: catalogue; before 1.2.1 proxies could not reach an agent that spoke HTTPS alone.
    """
    options = {"ports": {"http": -1, "https": lab.port()}, **_certificate(lab)}
    pair = mesh(lab, lab.use(EchoServer()), options=options)
    assert {variable(proxy, "CONSUL_HTTP_SSL") for proxy in pair.agent.proxies()} == {"true"}


@requirement("environment/verify/01")
def check_proxy_knows_whether_to_verify(lab: Lab) -> None:
    """Give the agent HTTPS and ``verify_outgoing``, and read the environment of a managed proxy.

    ``CONSUL_HTTP_SSL_VERIFY`` is true. Source: catalogue.
    """
    options = {"ports": {"https": lab.port()}, "verify_outgoing": True, **_certificate(lab)}
    _, proxy = _started(lab, options=options)
    assert variable(proxy, "CONSUL_HTTP_SSL_VERIFY") == "true"


@requirement("environment/verify/01")
def check_proxy_need_not_verify(lab: Lab) -> None:
    """Read ``CONSUL_HTTP_SSL_VERIFY`` in the environment of a managed proxy whose agent has no ``verify_outgoing``.

    It is false. Source: catalogue.
    """
    _, proxy = _started(lab)
    assert variable(proxy, "CONSUL_HTTP_SSL_VERIFY") == "false"


@requirement("environment/inherit/01")
def check_environment_is_inherited(lab: Lab) -> None:
    """Start an agent with a variable of our own in its environment.

    Its managed proxy has the variable with the same value. Source: catalogue.
    """
    _, proxy = _started(lab, environment={"COLOUR": "green and = blue"})
    assert variable(proxy, "COLOUR") == "green and = blue"


@requirement("environment/session/01")
def check_proxy_leads_its_own_session(lab: Lab) -> None:
    """Look at session and process group of a managed proxy.

    It leads both, so that no signal to the agent's group or terminal reaches it. Source: document, Lifecycle.
    """
    agent, proxy = _started(lab)
    stat = proxy.stat()
    assert (stat.pgid, stat.sid) == (proxy.pid, proxy.pid)
    assert stat.sid != agent.process.stat().sid


@requirement("environment/user/01")
def check_proxy_runs_as_its_agent(lab: Lab) -> None:
    """Look at the user, working directory and standard input of a managed proxy.

    User and directory are those of the agent; standard input is ``/dev/null``. Source: catalogue.
    """
    agent, proxy = _started(lab)
    assert proxy.stat().uid == agent.process.stat().uid
    assert proxy.directory() == agent.process.directory()
    assert proxy.descriptors().get(0) == "/dev/null"


@requirement("environment/descriptors/01")
def check_proxy_inherits_no_descriptor(lab: Lab) -> None:
    """Look at the open descriptors of a managed proxy that opens none itself.

    Beyond the three standard streams there are none. Source: hardening; an inherited listener would keep the
    agent's port taken after its end.
    """
    _, proxy = _started(lab)
    inherited = {number: target for number, target in proxy.descriptors().items() if number > 2}
    assert not inherited, f"inherited: {inherited}"


def _started(lab: Lab, **agent: object) -> tuple[AgentUnderTest, Process]:
    started = lab.agent(definitions=[lab.service("web", proxy=IDLE)], **agent)
    return started, started.proxy("web-proxy")


def _certificate(lab: Lab) -> dict[str, str]:
    """The agent options of a certificate for this machine, and of the authority that vouches for it."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    files = {
        "ca_file": lab.write("ca.pem", authority.cert_pem.bytes().decode()),
        "cert_file": lab.write("agent.pem", leaf.cert_chain_pems[0].bytes().decode()),
        "key_file": lab.write("agent.key", leaf.private_key_pem.bytes().decode()),
    }
    return {name: str(path) for name, path in files.items()}


def _address(proxy: Process) -> str:
    return variable(proxy, "CONSUL_HTTP_ADDR").removeprefix("http://")


def _loopback(port: int) -> set[str]:
    return {f"{host}:{port}" for host in ("127.0.0.1", "localhost", "[::1]")}
