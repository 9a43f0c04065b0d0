"""Verdicts, and how many become one: a lattice in which the worst wins.

====================  ====================================================================
``unknown``           nothing was learned: not run, or no check exists
``disabled``          the target does not claim the feature
``skip``              the machine or target could not show it
``pass``              the implementation did as required
``fail``              it did not
``error``             the suite itself broke
====================  ====================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum, StrEnum

from conformance.requirements import Feature


class Verdict(IntEnum):
    """In ascending order; the greater one wins."""

    UNKNOWN = 0
    DISABLED = 1
    SKIP = 2
    PASS = 3
    FAIL = 4
    ERROR = 5

    @property
    def word(self) -> str:
        """The name in reports."""
        return self.name.lower()


def merge(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; :attr:`Verdict.UNKNOWN` of none. The order never matters."""
    return max(verdicts, default=Verdict.UNKNOWN)


class ProfileResult(StrEnum):
    """What a profile comes to: ``unclaimed`` when nothing is asked of it, ``untested`` when no check was selected."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"
    UNCLAIMED = "unclaimed"
    UNTESTED = "untested"


#: Each profile is a set of features; it is judged by the checks of the requirements that belong to them.
PROFILES: Mapping[str, frozenset[Feature]] = {feature.value: frozenset({feature}) for feature in Feature}


def judge(verdicts: Iterable[Verdict]) -> ProfileResult:
    """The result of a profile from the verdicts of its checks, each counted by itself.

    One failure or error makes it a failure; otherwise anything less than a pass makes it partial, never a success; and
    where the target is not asked for anything, nobody knows.
    """
    seen = set(verdicts)
    if not seen:
        return ProfileResult.UNTESTED
    if seen == {Verdict.DISABLED}:
        return ProfileResult.UNCLAIMED
    if seen & {Verdict.FAIL, Verdict.ERROR}:
        return ProfileResult.FAILURE
    return ProfileResult.SUCCESS if seen == {Verdict.PASS} else ProfileResult.PARTIAL
