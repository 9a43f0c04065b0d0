"""How checks run: pytest is the engine, and everything around it is the suite's own.

Map: :mod:`~conformance.plugin.marks` is what a check imports, :mod:`~conformance.plugin.lab` what it is given, with
:mod:`~conformance.plugin.agent`, :mod:`~conformance.plugin.waits` and :mod:`~conformance.plugin.household` behind it;
:mod:`~conformance.plugin.discovery` finds checks, :mod:`~conformance.plugin.hooks` runs them (in workers, with
:mod:`~conformance.plugin.settings`) of one :mod:`~conformance.plugin.session`, and
:mod:`~conformance.plugin.collector` gathers their verdicts.
"""
