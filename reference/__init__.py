"""The reference: a compact agent and mTLS proxy that run managed proxies as the document promises.

Map: :mod:`reference.cli` (command lines), :mod:`~reference.config` (options, definitions),
:mod:`~reference.agent` (composition root, local state), :mod:`~reference.catalog` (what the mesh knows),
:mod:`~reference.mesh` (certificate authority, SPIFFE ids, authorization), :mod:`~reference.access` (tokens),
:mod:`~reference.supervisor` (managed proxies), :mod:`~reference.http` (the API), :mod:`~reference.proxy`
(the built-in proxy, a process of its own).
"""
