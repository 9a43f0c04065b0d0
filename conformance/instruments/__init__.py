"""What checks measure with; everything from outside the implementation.

Map: :mod:`~conformance.instruments.api` (HTTP), :mod:`~conformance.instruments.dns` (DNS),
:mod:`~conformance.instruments.processes` (the process table),
:mod:`~conformance.instruments.identities` and :mod:`~conformance.instruments.tls` (honest and rogue TLS peers),
:mod:`~conformance.instruments.echo` (an application), :mod:`~conformance.instruments.probe_proxy` (a custom proxy
that tells what it was given), :mod:`~conformance.instruments.ports` (free ports and locks between checks), and
:mod:`~conformance.instruments.history`, where all of them write what they did and saw.
"""
