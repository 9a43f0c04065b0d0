"""Managed proxies: a pure core that decides, a world that acts, a runner that carries between them.

Map: :mod:`~reference.supervisor.spec` (the vocabulary shared with the agent), :mod:`~reference.supervisor.events`
(what the core hears and orders), :mod:`~reference.supervisor.core` (the state machine and its rules),
:mod:`~reference.supervisor.snapshot` (the file that survives the agent, as text), :mod:`~reference.supervisor.world`
(the port), :mod:`~reference.supervisor.real` (that port) with :mod:`~reference.supervisor.processes` (who is who),
:mod:`~reference.supervisor.kernel` (the port below: what they ask of a machine), :mod:`~reference.supervisor.linux`
(this machine), :mod:`~reference.supervisor.simulation` (another), :mod:`~reference.supervisor.runner` (what the agent
holds).
"""
