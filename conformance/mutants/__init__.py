"""The suite judged: what it finds in agents that are known to lie, each in one way.

Map: :mod:`~conformance.mutants.faults` learns which faulty agents there are and which checks each one meets,
:mod:`~conformance.mutants.session` lets them meet, with the pytest plugin :mod:`~conformance.mutants.hooks`;
:mod:`~conformance.mutants.matrix` is what came of it, fault by requirement, as data, and
:mod:`~conformance.mutants.show` draws it.
"""
