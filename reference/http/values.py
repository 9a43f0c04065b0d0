"""Values of query parameters that several endpoints read in the same way."""

from __future__ import annotations

from reference.http.exchange import ApiError, Call

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def truth(text: str) -> bool | None:
    """What a text says, or None for one that is neither."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def enabled(call: Call) -> bool:
    """``?enable=``, which must be there."""
    text = call.query.get("enable")
    if text is None:
        raise ApiError(400, "Missing value for enable")
    value = truth(text)
    if value is None:
        raise ApiError(400, f'Invalid value for enable: "{text}"')
    return value
