"""The built-in proxy: a process of its own that speaks HTTP to its agent and mutual TLS to its peers.

Map, from the outside in:

- :mod:`~reference.proxy.settings` (flags and environment), :mod:`~reference.proxy.run` (the process);
- :mod:`~reference.proxy.service` (composition: what the agent says becomes listeners, live);
- :mod:`~reference.proxy.inbound` and :mod:`~reference.proxy.outbound` (one connection, from accept to relay),
  :mod:`~reference.proxy.listener` (one listening socket);
- :mod:`~reference.proxy.api` (HTTP client and watches), :mod:`~reference.proxy.authorize`,
  :mod:`~reference.proxy.resolver`, :mod:`~reference.proxy.identity` (what the agent is asked);
- :mod:`~reference.proxy.relay` (bytes both ways, the hot path), :mod:`~reference.proxy.tls` (the corners of
  TLS), :mod:`~reference.proxy.loop` (epoll, timers, tasks), :mod:`~reference.proxy.workers`;
- :mod:`~reference.proxy.config`, :mod:`~reference.proxy.spiffe`, :mod:`~reference.proxy.catalog` (pure:
  what answers mean), :mod:`~reference.proxy.log`.

Only the standard library is imported, and of it as little as will do: one proxy runs per service, so the start
must be quick and the process small.
"""
