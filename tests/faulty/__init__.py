"""Faulty agents: the reference with one lie each, told by its module's docstring.

A module here patches one named seam of the reference from outside (``install``) and names every requirement that
the lie breaks (``BREAKS``). ``python tests/faulty <name> agent ...`` runs it as the suite would run any agent.
"""
