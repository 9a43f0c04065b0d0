"""From a seed to a schedule: operators who change their minds, and everything that can go wrong meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from reference.supervisor.simulation.programs import PROGRAMS
from reference.supervisor.simulation.schedule import BUILT_IN, SERVICES, STRANGERS, Deed, Schedule

#: Ports that the agent hands out, and those that definitions ask for.
PORT_RANGE = (20000, 20005)
EXPLICIT_PORTS = range(21000, 21000 + len(SERVICES))
#: What the canary seeds break on purpose, one after the other.
SABOTAGE = ("twins", "stranger", "orphan", "down", "lost", "port", "diverged", "outdated")

#: Unsound programs are put right after this many seconds, as a rule: nobody watches a crash loop for a year.
_PATIENCE = 180.0

_WEIGHTS = {
    "define": 22,
    "remove": 7,
    "restart": 3,
    "hold": 2,
    "crash": 12,
    "kill": 8,
    "stop": 3,
    "start": 14,
    "second": 2,
    "upgrade": 2,
    "recycle": 6,
    "strangers": 8,
    "disperse": 5,
    "occupy": 3,
    "reboot": 4,
    "fill": 3,
    "free": 5,
    "lose": 3,
    "tear": 2,
    "stall": 4,
    "suspend": 2,
    "clock": 4,
}
_WITHOUT_DATA = ("fill", "free", "lose", "tear", "second")


def generate(seed: int, *, hours: float, pace: float = 8.0, canary: bool = False) -> Schedule:
    """The schedule of a seed: ``hours`` of virtual time with a deed each ``pace`` seconds on average.

    Equal arguments give equal schedules, on every machine and in every version of Python.
    """
    random = Random(seed)
    traits = frozenset(
        trait
        for trait, chance in (("lazy-init", 0.25), ("old-kernel", 0.25), ("dev", 0.1))
        if random.random() < chance
    )
    deeds = list(_Generator(random, dev="dev" in traits).deeds(hours * 3600.0, pace))
    if canary:
        at = max(deed.at for deed in deeds)
        rule = SABOTAGE[seed % len(SABOTAGE)]
        traits -= {"dev"}
        deeds.append(Deed(at, "sabotage", options=(("rule", rule),)))
    return Schedule(deeds=tuple(sorted(deeds, key=lambda deed: deed.at)), traits=traits)


class _Generator:
    def __init__(self, random: Random, *, dev: bool) -> None:
        self._random = random
        self._dev = dev
        weights = {verb: weight for verb, weight in _WEIGHTS.items() if not (dev and verb in _WITHOUT_DATA)}
        self._verbs, self._weights = [*weights], [*weights.values()]

    def deeds(self, seconds: float, pace: float) -> Iterator[Deed]:
        yield Deed(0.0, "start")
        at = 0.0
        while (at := round(at + self._random.expovariate(1 / pace), 3)) < seconds:
            (verb,) = self._random.choices(self._verbs, self._weights)
            yield from getattr(self, f"_{verb}", self._plain)(at, verb)

    def _plain(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb)

    def _later(self, at: float) -> float:
        return round(at + min(self._random.expovariate(1 / _PATIENCE), 5 * _PATIENCE), 3)

    def _service(self) -> str:
        return self._random.choice(SERVICES)

    def _some(self, name: str, draw: Callable[[], float]) -> tuple[tuple[str, float], ...]:
        return ((name, round(draw(), 3)),)

    # --- deeds with something to choose ----------------------------------------------------------------

    def _define(self, at: float, verb: str) -> Iterator[Deed]:
        service = self._service()
        choice = [BUILT_IN, *(name for name in PROGRAMS if not (self._dev and PROGRAMS[name].children))]
        program = self._random.choice(choice)
        port: tuple[tuple[str, int], ...] = ()
        if self._random.random() < 0.2:
            port = (("port", EXPLICIT_PORTS[SERVICES.index(service)]),)
        yield Deed(at, verb, service, (("program", program), *port))
        if program != BUILT_IN and not PROGRAMS[program].sound:
            yield Deed(self._later(at), verb, service, (("program", "polite"), *port))

    def _remove(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb, self._service())

    def _restart(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb, self._service())

    def _hold(self, at: float, verb: str) -> Iterator[Deed]:
        service = self._service()
        yield Deed(at, verb, service)
        yield Deed(self._later(at), "restart", service)

    def _crash(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb, self._service())

    def _recycle(self, at: float, verb: str) -> Iterator[Deed]:
        """A stranger follows the proxy so closely that the agent cannot have noticed yet, half of the time."""
        service = self._service()
        if self._random.random() < 0.5:
            yield Deed(at, "stall", options=self._some("seconds", lambda: self._random.uniform(0.1, 8.0)))
            yield Deed(at, self._random.choice(("remove", "define")), service)
            yield Deed(at, "crash", service)
        yield Deed(at, verb, service)

    def _kill(self, at: float, verb: str) -> Iterator[Deed]:
        if self._random.random() < 0.4:
            yield Deed(at, verb)
        else:
            yield Deed(at, verb, options=(("calls", self._random.randrange(40)),))
        if self._random.random() < 0.5:
            yield Deed(round(at + self._random.expovariate(1 / 5), 3), "start")

    def _strangers(self, at: float, verb: str) -> Iterator[Deed]:
        kind = self._random.choice(STRANGERS)
        yield Deed(at, verb, options=(("count", self._random.randrange(1, 8)), ("kind", kind)))

    def _disperse(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb, options=self._some("share", self._random.random))

    def _occupy(self, at: float, verb: str) -> Iterator[Deed]:
        low, high = PORT_RANGE
        yield Deed(at, verb, options=(("port", self._random.randint(low, high)),))
        yield Deed(self._later(at), "disperse", options=(("share", 1.0),))

    def _reboot(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb, options=self._some("kept", self._random.random))
        # One boot is much like the last one: the same few pids, in the same first moments.
        if self._random.random() < 0.5:
            yield Deed(at, "strangers", options=(("count", self._random.randrange(1, 8)), ("kind", "plain")))
        if self._random.random() < 0.5:
            yield Deed(at, "start")

    def _fill(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb)
        yield Deed(self._later(at), "free")

    def _tear(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb, options=self._some("kept", self._random.random))

    def _stall(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb, options=self._some("seconds", lambda: self._random.uniform(0.1, 8.0)))

    def _suspend(self, at: float, verb: str) -> Iterator[Deed]:
        yield Deed(at, verb, options=self._some("seconds", lambda: self._random.uniform(1, 7200)))

    def _clock(self, at: float, verb: str) -> Iterator[Deed]:
        """Once, or again and again while a proxy crashes now and then."""
        if self._random.random() < 0.5:
            yield Deed(at, verb, options=self._some("seconds", lambda: self._random.uniform(-7200, 7200)))
            return
        service = self._service()
        for round_ in range(5):
            then = round(at + 15 * round_, 3)
            yield Deed(then, verb, options=(("seconds", -100.0),))
            yield Deed(then, "crash", service)
