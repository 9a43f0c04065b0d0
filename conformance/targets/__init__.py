"""How an implementation is reached.

Map: :mod:`~conformance.targets.target` says what a target is and makes the ready-made ones;
:mod:`~conformance.targets.privileges` finds out as whom its agents can run.
"""

from conformance.targets.target import CommandLineTarget, Target, TargetError, resolve

__all__ = ["CommandLineTarget", "Target", "TargetError", "resolve"]
