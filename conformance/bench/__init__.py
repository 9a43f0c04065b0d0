"""``proxyproof bench``: how fast proxies carry traffic, each against the others in the same run, from outside.

Map: :mod:`~conformance.bench.cli` (the command), :mod:`~conformance.bench.rows` (what is measured, and the goals),
:mod:`~conformance.bench.load` (the clients), :mod:`~conformance.bench.applications` (what stands behind the proxies),
:mod:`~conformance.bench.peers` (how each proxy is set up), :mod:`~conformance.bench.stage` (the processes of a run),
:mod:`~conformance.bench.result` (figures, ratios, JSON), :mod:`~conformance.bench.table` and
:mod:`~conformance.bench.plot` (how they are shown).

Everything stays on loopback. Figures of different runs do not compare; ratios within a run do. So all proxies are up
during the whole run and are measured in turn, round after round, and a ratio is taken between neighbours in time.
"""
