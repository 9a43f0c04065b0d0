"""Lifecycle, back-off: a proxy that crashes again and again is seen, and waits also while agents come and go."""

from __future__ import annotations

from itertools import pairwise

from conformance.checks._situations import content, end, recorded, starts, supervision
from conformance.instruments.processes import Process
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("lifecycle/backoff/03", takes=17)
def check_back_off_survives_the_agent(lab: Lab) -> None:
    """Let a proxy crash until it waits four seconds for its next start, kill the agent, and start it again.

    The next start comes when the wait is over, not when the agent is back, and the one after it later still.
    Source: hardening.
    """
    probe = lab.probe_proxy(exit_after=0.01, exit_code=1)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    starts(lab, probe, 5)
    lab.until("state_written", lambda: not agent.proxies(), what="the fifth process has ended")
    recorded(lab, agent)
    agent.crash()
    agent.start()
    before, after = starts(lab, probe, 6)[4:]
    assert after.time - before.time > 3, f"started after {after.time - before.time:.1f} s"
    lab.holds("observation", lambda: len(probe.starts()) == 6, what="the proxy waits for longer now")


@requirement("lifecycle/backoff/04")
def check_crash_loop_is_visible(lab: Lab) -> None:
    """Let a proxy exit with code 3 as often as it is started, and read its check.

    It is critical, and its output tells the code. Source: hardening.
    """
    probe = lab.probe_proxy(exit_after=0.01, exit_code=3)
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": probe.command})])
    starts(lab, probe, 4)

    def told() -> bool:
        check = agent.checks()["service:web-proxy"]
        assert check["Status"] == "critical"
        assert "exited with code 3" in check["Output"], f"the output is {check['Output']!r}"
        return True

    lab.until("check_passes", told, what="the check says how the proxy ends")


@requirement("lifecycle/backoff/05", takes=4)
def check_back_off_can_be_configured(lab: Lab) -> None:
    """Configure one prompt start, a first wait of 300 ms and none longer than that; let a proxy crash nine times.

    Each start comes about that long after the one before it: a proxy is never given up. Source: hardening.
    """
    probe = lab.probe_proxy(exit_after=0.01, exit_code=1)
    lab.agent(
        definitions=[lab.service("web", proxy={"command": probe.command})],
        options=supervision(quick_starts=1, backoff="300ms", backoff_limit="300ms"),
    )
    gaps = [later.time - earlier.time for earlier, later in pairwise(starts(lab, probe, 10))]
    assert min(gaps) >= 0.27, f"a restart comes too early: {gaps}"
    assert max(gaps) < 2, f"a restart comes too late: {gaps}"


@requirement("lifecycle/backoff/02", takes=13)
def check_good_run_is_rewarded(lab: Lab) -> None:
    """Have a proxy crash until its restart is delayed, then run for longer than ten seconds; kill it.

    The next start follows sooner than the delay that the crashes had earned. Source: catalogue; the original never
    forgives a proxy that was delayed once.
    """
    starts = lab.write("starts", "")
    script = f'echo >> {starts}; [ "$(wc -l < {starts})" -ge 4 ] || exit 1; exec /bin/sleep 600'
    agent = lab.agent(definitions=[lab.service("web", proxy={"command": ["/bin/sh", "-c", script]})])

    def sleeping() -> Process | None:
        return next((proxy for proxy in agent.proxies("web-proxy") if proxy.argv()[0] == "/bin/sleep"), None)

    proxy = lab.until("proxy_restart", sleeping, what="the proxy runs after its crashes")
    assert proxy is not None
    lab.holds("proxy_proves_itself", proxy.alive, what="the proxy runs")
    end(proxy)
    lab.until(
        "prompt_restart", lambda: len(content(starts).split(b"\n")) > 5, what="the proxy is started at once"
    )
