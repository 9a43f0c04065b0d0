"""The command line of the agent and the proxy.

Map: :mod:`~reference.cli.main` picks the sub-command; :mod:`~reference.cli.flags` reads flags in the original's
style from a table; :mod:`~reference.cli.agent`, :mod:`~reference.cli.validate` and :mod:`~reference.cli.connect`
are the sub-commands, imported only when they run.
"""
