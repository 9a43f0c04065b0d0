"""What the deeds of a schedule do to a story: a function for each verb."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from reference.supervisor.simulation.agent import PIDS, SNAPSHOT, Definition, SimulatedAgent
from reference.supervisor.simulation.machine import OWN_PROGRAM, STRANGER, Breach, Origin, SimulatedProcess
from reference.supervisor.simulation.programs import PROGRAMS
from reference.supervisor.simulation.schedule import BUILT_IN, IN_FILES, Deed

if TYPE_CHECKING:
    from reference.supervisor.simulation.story import Story

#: So many strangers leave pids to the others.
_CROWD = 30


# --- the operator ------------------------------------------------------------------------------------


def _start(story: Story, deed: Deed) -> None:
    if not story.agents:
        story.start_agent()


def _stop(story: Story, deed: Deed) -> None:
    def end(agent: SimulatedAgent) -> None:
        agent.detach()
        agent.kernel.die("ends, asked to")

    story.with_agent(end)


def _kill(story: Story, deed: Deed) -> None:
    if not story.agents:
        return
    kernel = story.agents[0].kernel
    calls = int(deed.number("calls", 0))
    if calls:
        kernel.calls_left = calls
    else:
        kernel.die("is killed")


def _second(story: Story, deed: Deed) -> None:
    if story.agents and not story.dev:
        story.start_agent()


def _upgrade(story: Story, deed: Deed) -> None:
    _stop(story, deed)
    if not story.agents:
        story.machine.version += 1
        story.start_agent()


def _define(story: Story, deed: Deed) -> None:
    definition = Definition(
        service=deed.service, program=deed.text("program", "polite"), port=int(deed.number("port", 0))
    )
    if deed.service in IN_FILES:
        story.files[deed.service] = definition
        _reload(story)
    else:
        story.ask((deed.service,), lambda agent: agent.register(definition))


def _remove(story: Story, deed: Deed) -> None:
    if deed.service in IN_FILES:
        story.files.pop(deed.service, None)
        _reload(story)
    else:
        story.ask((deed.service,), lambda agent: agent.deregister(deed.service))


def _reload(story: Story) -> None:
    story.ask(IN_FILES, lambda agent: agent.reload(story.files.values()))


def _restart(story: Story, deed: Deed) -> None:
    def restart(agent: SimulatedAgent) -> None:
        if agent.restart(deed.service):
            story.held.discard(deed.service)
            story.watchman.redefined(f"{deed.service}-proxy")

    story.with_agent(restart)


def _hold(story: Story, deed: Deed) -> None:
    def hold(agent: SimulatedAgent) -> None:
        if agent.hold(deed.service):
            story.held.add(deed.service)

    story.with_agent(hold)


# --- proxies and other processes ---------------------------------------------------------------------


def _running(story: Story, service: str) -> SimulatedProcess | None:
    processes = story.machine.processes.values()
    name = f"{service}-proxy"
    return next((p for p in processes if p.ours and p.leader and p.name == name and not p.zombie), None)


def _crash(story: Story, deed: Deed) -> None:
    process = _running(story, deed.service)
    if process is not None:
        story.machine.end(process, "crashes", code=1)


def _recycle(story: Story, deed: Deed) -> None:
    last = story.last.get(f"{deed.service}-proxy")
    if last is not None:
        story.machine.turn_pids_back_to(last.pid)
        story.machine.spawn("stranger", PROGRAMS["polite"])


def _strangers(story: Story, deed: Deed) -> None:
    machine, kind = story.machine, deed.text("kind", "plain")
    for _ in range(int(deed.number("count", 1))):
        if len(machine.processes) < _CROWD:
            name, origin, threads = _KINDS[kind]
            machine.spawn(name, PROGRAMS["polite"], origin, threads=threads)


#: Name, origin and threads of each kind of stranger. The proxy is one of another agent on the same machine.
_KINDS = {
    "plain": ("stranger", STRANGER, 0),
    "threaded": ("stranger", STRANGER, 3),
    "foreign": ("stranger", Origin(foreign=True), 0),
    "proxy": (
        "their web-proxy",
        Origin(environment={"CONNECT_PROXY_AGENT_ID": "another-agent", "CONNECT_PROXY_ID": "web-proxy"}),
        0,
    ),
}


def _disperse(story: Story, deed: Deed) -> None:
    strangers = [p for p in story.machine.processes.values() if not p.ours and not p.zombie]
    for process in strangers[: round(len(strangers) * deed.number("share", 1.0))]:
        story.machine.end(process, "ends", code=0)


def _occupy(story: Story, deed: Deed) -> None:
    port = int(deed.number("port", 0))
    if not any(story.machine.listeners(port)):
        story.machine.spawn("stranger", PROGRAMS["polite"]).port = port


# --- the machine -------------------------------------------------------------------------------------


def _reboot(story: Story, deed: Deed) -> None:
    for agent in list(story.agents):
        agent.kernel.die("ends with the power")
    story.machine.reboot(deed.number("kept", 0.0))


def _fill(story: Story, deed: Deed) -> None:
    story.machine.disk.full = True


def _free(story: Story, deed: Deed) -> None:
    story.machine.disk.full = False


def _lose(story: Story, deed: Deed) -> None:
    story.machine.disk.remove(SNAPSHOT)
    story.spoilt = (*story.spoilt, None)


def _tear(story: Story, deed: Deed) -> None:
    content = story.read(SNAPSHOT)
    if content is not None:
        rest = content[: int(len(content) * deed.number("kept", 0.5))]
        story.machine.disk.put(SNAPSHOT, rest)
        # Also what was there before: a loss of power can bring it back.
        story.spoilt = (*story.spoilt, rest)


def _stall(story: Story, deed: Deed) -> None:
    for agent in story.agents:
        until = story.machine.time + deed.number("seconds", 1.0)
        agent.kernel.stalled_until = max(agent.kernel.stalled_until, until)


def _suspend(story: Story, deed: Deed) -> None:
    story.machine.asleep += deed.number("seconds", 60.0)
    story.machine.wall_error += deed.number("seconds", 60.0)


def _clock(story: Story, deed: Deed) -> None:
    story.machine.wall_error += deed.number("seconds", 0.0)


# --- breaches on purpose -----------------------------------------------------------------------------


def _sabotage(story: Story, deed: Deed) -> None:
    """Break a rule behind the supervisor's back: a watchman who sees nothing then sees nothing ever."""
    rule, machine = deed.text("rule", "twins"), story.machine
    _free(story, deed)
    if not story.agents:
        story.start_agent()
    for agent in story.agents:
        # Nothing else may happen to it just now.
        agent.kernel.calls_left, agent.kernel.stalled_until = None, 0.0
    _define(story, Deed(deed.at, "define", "web", (("program", "polite"),)))
    ours = Origin(ours=True, arguments=("/opt/polite/proxy",))
    if rule == "twins":
        machine.spawn("web-proxy", PROGRAMS["polite"], ours)
        machine.spawn("web-proxy", PROGRAMS["polite"], ours)
    elif rule == "stranger":
        machine.signal(machine.spawn("stranger", PROGRAMS["polite"]), 2, by="the saboteur")
    elif rule == "orphan":
        machine.spawn("nobodys-proxy", PROGRAMS["polite"], ours)
        machine.after(30.0, lambda: None)
    elif rule == "down":
        story.accepted["ghost"] = Definition(service="ghost", program="polite")
        machine.after(120.0, lambda: None)
    elif rule == "port":
        story.granted["ghost"] = story.granted["web"]
        del story.granted["web"]
        story.promise(story.agents[0], "web")
    elif rule == "lost":
        story.accepted["redis"] = Definition(service="redis", program="lost")
        story.doubtful.discard("redis")
        story.agents[0].kernel.die("is killed")
        story.start_agent()
    elif rule == "outdated":
        _define(story, Deed(deed.at, "define", "yore", (("program", BUILT_IN),)))
        story.agents[0].kernel.die("is killed")
        for process in machine.processes.values():
            if process.ours and process.command[0] == OWN_PROGRAM:
                process.arguments = ("/usr/lib/agent-of-yore/proxyproof", *process.arguments[1:])
        story.start_agent()
    elif rule == "diverged":
        machine.disk.put(PIDS / "ghost-proxy.pid", b"1")
    else:
        raise Breach("error", f"there is no sabotage called {rule}")


DOERS: Mapping[str, Callable[[Story, Deed], None]] = {
    "start": _start,
    "stop": _stop,
    "kill": _kill,
    "second": _second,
    "upgrade": _upgrade,
    "define": _define,
    "remove": _remove,
    "restart": _restart,
    "hold": _hold,
    "crash": _crash,
    "recycle": _recycle,
    "strangers": _strangers,
    "disperse": _disperse,
    "occupy": _occupy,
    "reboot": _reboot,
    "fill": _fill,
    "free": _free,
    "lose": _lose,
    "tear": _tear,
    "stall": _stall,
    "suspend": _suspend,
    "clock": _clock,
    "sabotage": _sabotage,
}
