"""The simulated world: the real core and the real snapshot code on a machine made of seeds and virtual time.

Map: :mod:`~reference.supervisor.simulation.machine` (clock, process table, disk, boots),
:mod:`~reference.supervisor.simulation.world` (the ``World`` port on that machine, with every safeguard of the
real one, each of which can be switched off), :mod:`~reference.supervisor.simulation.story` (what operators and
accidents do, and what must hold whatever they do).
"""
