"""From verdicts to reports.

Map: :mod:`~conformance.report.verdict` is the lattice and the profiles, :mod:`~conformance.report.model` the report as
data and as JSON, :mod:`~conformance.report.junit` and :mod:`~conformance.report.terminal` its other faces.
"""
