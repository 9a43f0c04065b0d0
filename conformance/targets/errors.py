"""What can be wrong with a target before and while it is judged."""

from __future__ import annotations


class TargetError(Exception):
    """The target cannot be used as asked; the message is one sentence for the operator."""


class AdapterError(Exception):
    """What stands between the suite and the implementation broke; this says nothing about the implementation."""
