"""Whether the instrument works: what each run proves of the suite itself before it says anything about an agent.

================  ==============================================================================================
canary            a check that meets an agent which is known to lie must fail
honesty probe     what nobody has ever heard of, a requirement and a feature, must come back unknown
double run        the target's simulated world, told the same twice, must do the same twice; where it has one
================  ==============================================================================================
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import replace

from conformance.canary import CAUGHT
from conformance.report.model import CheckResult, Proof, ProofResult, Report, RequirementEntry
from conformance.report.verdict import Verdict
from conformance.requirements import Feature, Level, Register

_SECONDS = 60.0


def canary(results: Iterable[CheckResult]) -> Proof:
    """From what became of the check that must fail."""
    seen = list(results)
    caught = [result for result in seen if result.verdict is Verdict.FAIL and CAUGHT in result.reason]
    if seen and len(caught) == len(seen):
        return Proof(
            name="canary", result=ProofResult.WORKS, detail="an agent that is known to lie was caught"
        )
    told = "; ".join(
        f"{result.verdict.word} {result.reason}".strip() for result in seen if result not in caught
    )
    return Proof(
        name="canary",
        result=ProofResult.BROKEN,
        detail=f"an agent that is known to lie was not caught: {told or 'the check was not run'}",
    )


def honesty(report: Report, register: Register, claimed: Iterable[str]) -> Proof:
    """Ask register, report and target for what nobody has ever heard of."""
    word = secrets.token_hex(4)
    requirement, feature = f"honesty/{word}/01", f"feature-{word}"
    entry = RequirementEntry(
        id=requirement, level=Level.MUST, text="Made up.", source="nobody", feature=Feature.CORE
    )
    asked = replace(report, requirements=(*report.requirements, entry))
    believed = [
        what
        for what, is_so in (
            (f"the register knows {requirement}", register.select(requirement) or requirement in register),
            (
                f"the report has a verdict on {requirement}",
                asked.verdicts[requirement] is not Verdict.UNKNOWN,
            ),
            (f"the report does not miss a check of {requirement}", entry not in asked.untested),
            (f"the target claims {feature}", feature in claimed),
            (f"there is a profile {feature}", feature in asked.profiles),
        )
        if is_so
    ]
    return Proof(
        name="honesty probe",
        result=ProofResult.BROKEN if believed else ProofResult.WORKS,
        detail="; ".join(believed) or f"{requirement} and {feature}, which nobody knows, came back unknown",
    )


class DoubleRun:
    """The target's simulated world, told the same story twice, beside everything else that the run does."""

    def __init__(self, command: Sequence[str]) -> None:
        self._tellings = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2 if command else 0)
        ]

    def proof(self) -> Proof:
        """Wait for both, and compare what they said."""
        if not self._tellings:
            return self._proof(ProofResult.UNAVAILABLE, "the target has no simulated world")
        try:
            said = [telling.communicate(timeout=_SECONDS)[0].strip() for telling in self._tellings]
        except subprocess.TimeoutExpired:
            return self._proof(ProofResult.BROKEN, f"the simulated world took more than {_SECONDS:g} s")
        finally:
            for telling in self._tellings:
                telling.kill()
        codes = [telling.returncode for telling in self._tellings]
        if any(codes) or not said[0]:
            return self._proof(
                ProofResult.BROKEN, f"the simulated world ended with {codes}: {said[0][-200:]}"
            )
        if said[0] != said[1]:
            return self._proof(ProofResult.BROKEN, f"two runs differ: {said[0]!r} and {said[1]!r}")
        return self._proof(ProofResult.WORKS, f"two runs of the simulated world were equal: {said[0]}")

    @staticmethod
    def _proof(result: ProofResult, detail: str) -> Proof:
        return Proof(name="double run", result=result, detail=detail)
