"""The simulated world: the real agent state, core and world on a machine made of a seed and virtual time.

Map, from the machine to the story: :mod:`~reference.supervisor.simulation.chronicle` (the trace),
:mod:`~reference.supervisor.simulation.disk`, :mod:`~reference.supervisor.simulation.programs` and
:mod:`~reference.supervisor.simulation.machine` (what outlives an agent),
:mod:`~reference.supervisor.simulation.kernel` (the machine as an agent sees it; here it dies),
:mod:`~reference.supervisor.simulation.safeguards` (what can be switched off),
:mod:`~reference.supervisor.simulation.agent` (the real parts, put together),
:mod:`~reference.supervisor.simulation.schedule` (what shall happen) and
:mod:`~reference.supervisor.simulation.seeds` (the same from a seed), :mod:`~reference.supervisor.simulation.deeds`
(how it happens), :mod:`~reference.supervisor.simulation.rules` (what must hold),
:mod:`~reference.supervisor.simulation.story` (all of it together), :mod:`~reference.supervisor.simulation.shrink` and
:mod:`~reference.supervisor.simulation.timeline` (a breach made short, and made visible).
"""
