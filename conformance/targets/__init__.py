"""How an implementation is reached.

Map: :mod:`~conformance.targets.target` says what a target is, :mod:`~conformance.targets.kinds` which there are;
:mod:`~conformance.targets.site` is where agents run, :mod:`~conformance.targets.privileges` finds out as whom,
:mod:`~conformance.targets.program` puts what they run somewhere else;
:mod:`~conformance.targets.consul` knows the original's releases, :mod:`~conformance.targets.exec` speaks to adapters
in the words of :mod:`~conformance.targets.protocol`, :mod:`~conformance.targets.container` puts each check into a
container; :mod:`~conformance.targets.errors` is what can be wrong.
"""

from conformance.targets.errors import AdapterError, TargetError
from conformance.targets.kinds import names, resolve
from conformance.targets.target import CommandLineTarget, Target, TargetChoice

__all__ = ["AdapterError", "CommandLineTarget", "Target", "TargetChoice", "TargetError", "names", "resolve"]
