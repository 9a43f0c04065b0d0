"""The built-in proxy: a process of its own that speaks HTTP to its agent and mutual TLS to its peers.

Map, from the outside in:

- :mod:`~reference.proxy.flags`, :mod:`~reference.proxy.settings` and :mod:`~reference.proxy.manual` (command line and
  environment), :mod:`~reference.proxy.run` (the process), :mod:`~reference.proxy.registration`;
- :mod:`~reference.proxy.service` (composition: what the agent says becomes listeners, live);
- :mod:`~reference.proxy.inbound` and :mod:`~reference.proxy.outbound` (one connection, from accept to relay),
  :mod:`~reference.proxy.listener` (one listening socket), :mod:`~reference.proxy.dial`,
  :mod:`~reference.proxy.tuning` (what sockets are told);
- :mod:`~reference.proxy.api` (HTTP client), :mod:`~reference.proxy.watch` (blocking queries),
  :mod:`~reference.proxy.authorize`, :mod:`~reference.proxy.resolver`, :mod:`~reference.proxy.identity` (what the
  agent is asked);
- :mod:`~reference.proxy.traffic` (live connections), :mod:`~reference.proxy.metrics`,
  :mod:`~reference.proxy.sinks` and :mod:`~reference.proxy.exporter` (what is told about them);
- :mod:`~reference.proxy.relay` and :mod:`~reference.proxy.ends` (bytes both ways, the hot path),
  :mod:`~reference.proxy.tls` (the corners of TLS), :mod:`~reference.proxy.loop` (epoll, timers, tasks),
  :mod:`~reference.proxy.waiting` (asleep or awake), :mod:`~reference.proxy.bulk` (loops for streams),
  :mod:`~reference.proxy.buffers`, :mod:`~reference.proxy.workers`;
- :mod:`~reference.proxy.config`, :mod:`~reference.proxy.telemetry`, :mod:`~reference.proxy.reading`,
  :mod:`~reference.proxy.endpoints`, :mod:`~reference.proxy.spiffe`, :mod:`~reference.proxy.catalog`,
  :mod:`~reference.proxy.proxy_protocol` (pure: what answers mean), :mod:`~reference.proxy.log`,
  :mod:`~reference.proxy.logfile`, :mod:`~reference.proxy.notice`.

Only the standard library is imported, and of it as little as will do: one proxy runs per service, so the start
must be quick and the process small.
"""
