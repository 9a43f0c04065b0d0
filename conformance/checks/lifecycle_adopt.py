"""Lifecycle, adoption: an agent that starts again takes over its running proxies, and nothing else."""

from __future__ import annotations

from conformance.checks._situations import (
    IDLE,
    accepted,
    deregister,
    end,
    forge,
    idle_web,
    proxy_config,
    recorded,
    token_of,
)
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("lifecycle/adopt/01")
def check_running_proxy_is_adopted(lab: Lab) -> None:
    """Stop the agent with SIGTERM, wait until its state is stored, and start it again.

    The proxy is the same process throughout, and there is no second one. Source: document, Lifecycle.
    """
    probe = lab.probe_proxy()
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    agent.restart()
    lab.holds(
        "quiet",
        lambda: agent.proxies("web-proxy") == [proxy],
        what="it is the same process, and the only one",
    )
    assert len(probe.starts()) == 1


@requirement("lifecycle/adopt/02")
def check_adopted_proxy_is_supervised(lab: Lab) -> None:
    """Kill the agent, start it again, and then kill the proxy that it took over.

    Until then the proxy is the same process, alone; afterwards it is started again, with the same token.
    Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    token = token_of(proxy)
    recorded(lab, agent, proxy)
    agent.crash()
    agent.start()
    lab.holds("blink", lambda: agent.proxies("web-proxy") == [proxy], what="the proxy is taken over")
    end(proxy)
    assert token_of(agent.proxy("web-proxy", other_than=proxy)) == token


@requirement("lifecycle/adopt/03")
def check_stranger_is_not_adopted(lab: Lab) -> None:
    """While the agent is down, kill its proxy and write the pid of an unrelated process in place of the proxy's.

    The next agent starts a new proxy. The unrelated process, which runs as the same user, is never signalled,
    not even when the service is deregistered. Source: hardening; the kernel hands out the pids of the dead again.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    recorded(lab, agent, proxy)
    uid = proxy.stat().uid
    agent.stop()
    end(proxy)
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy has ended")
    with lab.stranger(uid) as other:
        forge(agent, proxy, other.pid)
        agent.start()
        assert agent.proxy("web-proxy").pid != other.pid
        accepted(deregister(agent, "web"))
        lab.until("proxy_stop", lambda: not agent.proxies("web-proxy"), what="the new proxy is stopped")
        lab.holds("blink", other.alive, what="the unrelated process is left alone")


@requirement("lifecycle/adopt/04")
def check_proxy_that_died_meanwhile_is_started(lab: Lab) -> None:
    """Kill the proxy while the agent is down, then start the agent.

    A new process runs, with the token and the port of the first. Source: document, Lifecycle.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    proxy = agent.proxy("web-proxy")
    token, port = token_of(proxy), agent.services()["web-proxy"]["Port"]
    recorded(lab, agent, proxy)
    agent.stop()
    end(proxy)
    lab.until("proxy_stop", lambda: not proxy.alive(), what="the proxy has ended")
    agent.start()
    successor = agent.proxy("web-proxy", other_than=proxy)
    assert token_of(successor) == token
    assert agent.services()["web-proxy"]["Port"] == port


@requirement("lifecycle/adopt/05")
def check_proxy_removed_meanwhile_is_stopped(lab: Lab) -> None:
    """Remove one of two services from the files while the agent is down, then start the agent.

    The proxy of the removed one is stopped, the other one runs. Source: document, Lifecycle.
    """
    redis = lab.service("redis", proxy={"command": IDLE})
    agent = lab.agent(definitions=[idle_web(lab), redis])
    removed = agent.proxy("web-proxy")
    recorded(lab, agent, removed, agent.proxy("redis-proxy"))
    agent.stop()
    agent.configure(definitions=[redis])
    agent.start()
    agent.proxy("redis-proxy")
    lab.until("proxy_stop", lambda: not removed.alive(), what="the proxy of the removed service is stopped")
    lab.holds("blink", lambda: not agent.proxies("web-proxy"), what="none is started in its place")


@requirement("lifecycle/adopt/06")
def check_fresh_proxy_is_adopted(lab: Lab) -> None:
    """Kill the agent the moment that its proxy runs, and start it again.

    There is one process of the proxy, not two. Source: hardening; the original stores what runs a second later.
    """
    agent = lab.agent(definitions=[idle_web(lab)])
    agent.proxy("web-proxy")
    agent.crash()
    agent.start()
    agent.proxy("web-proxy")
    lab.holds("quiet", lambda: len(agent.proxies("web-proxy")) == 1, what="there is one process")


@requirement("lifecycle/adopt/07")
def check_definition_changed_meanwhile(lab: Lab) -> None:
    """Change the command of one of two proxies and the config of the other while the agent is down, then start it.

    The first is replaced by one with the new command and the same token; the other is the same process, and told of
    the change. Source: document, Lifecycle.
    """
    before, after = (
        lab.service("redis", proxy={"command": IDLE, "config": {"colour": colour}})
        for colour in ("green", "blue")
    )
    agent = lab.agent(definitions=[idle_web(lab), before])
    web, kept = agent.proxy("web-proxy"), agent.proxy("redis-proxy")
    token = token_of(web)
    recorded(lab, agent, web, kept)
    agent.stop()
    agent.configure(
        definitions=[lab.service("web", port=8080, proxy={"command": ["/bin/sleep", "601"]}), after]
    )
    agent.start()
    successor = agent.proxy("web-proxy", other_than=web)
    assert successor.argv() == ["/bin/sleep", "601"]
    assert token_of(successor) == token
    lab.until("proxy_stop", lambda: not web.alive(), what="the old process is stopped")
    assert agent.proxies("redis-proxy") == [kept]
    assert proxy_config(agent, "redis-proxy")["Config"]["colour"] == "blue"
