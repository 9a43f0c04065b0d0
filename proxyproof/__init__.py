"""proxyproof: a conformance suite for managed mesh proxies, and the reference agent and proxy that pass it.

Map: ``python -m proxyproof`` (the console script ``proxyproof``) hands the command line to
:mod:`reference.cli` (agent, proxy) or :mod:`conformance.cli` (run, requirements); :func:`proxyproof.data.path`
finds the data folders.
"""

__version__ = "0.1.0"
