"""Which application answers a path: found in a table, where a list of patterns would be tried one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

_NOWHERE = Response(status_code=404)


class Paths:
    """The applications of paths such as ``/v1/query``, ``/v1/query/{id:path}`` and ``/v1/query/{id:path}/execute``.

    A path as it stands comes before one with a variable part, and of those the first. What varies may hold slashes, and
    be empty; the application finds it in the ``path_params`` of its scope.
    """

    def __init__(self, applications: Iterable[tuple[str, ASGIApp]]) -> None:
        self._fixed: dict[str, ASGIApp] = {}
        self._varied: list[tuple[str, str, str, ASGIApp]] = []
        for path, application in applications:
            head, varies, rest = path.partition("{")
            if varies:
                name, _, tail = rest.partition(":path}")
                self._varied.append((head, name, tail, application))
            else:
                self._fixed[path] = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application of the path answer, or say that there is none."""
        application, scope["path_params"] = self._find(scope["path"])
        await application(scope, receive, send)

    def _find(self, path: str) -> tuple[ASGIApp, dict[str, str]]:
        if application := self._fixed.get(path):
            return application, {}
        for head, name, tail, application in self._varied:
            if path.startswith(head) and path.endswith(tail) and len(path) >= len(head) + len(tail):
                return application, {name: path[len(head) : len(path) - len(tail)]}
        return _NOWHERE, {}
