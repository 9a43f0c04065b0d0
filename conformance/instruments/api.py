"""A small HTTP client for an agent's API: one connection per request, short timeouts, everything recorded."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from conformance.instruments.history import History

#: How much of a body the history keeps, in characters.
_RECORDED_BODY = 4096


class Unreachable(Exception):
    """No answer: refused, reset, or nothing in time. ``lab.until`` takes it as "not yet"."""


class Headers(Mapping[str, str]):
    """Header fields of a response; names are compared without regard to case."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self._fields = {name.lower(): value for name, value in pairs.items()}

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer of the agent. ``text`` is the body, decoded as UTF-8."""

    status: int
    headers: Headers
    text: str

    @property
    def json(self) -> Any:
        """The body as JSON. Raises :class:`AssertionError` quoting it when it is none.

        Objects and arrays in it raise :class:`AssertionError` too, for a key or an item that they lack: an answer
        without it is a failure of the agent, not of the check that looked for it.
        """
        try:
            return _demanding(json.loads(self.text))
        except ValueError:
            raise AssertionError(
                f"status {self.status} with a body that is no JSON: {self.text[:200]!r}"
            ) from None


class _Object(dict[str, Any]):
    def __missing__(self, key: str) -> Any:
        raise AssertionError(f"the answer lacks {key!r}; it has {', '.join(self) or 'no keys'}")


class _Array(list[Any]):
    def __getitem__(self, index: Any) -> Any:
        try:
            return super().__getitem__(index)
        except IndexError:
            raise AssertionError(f"the answer lacks item {index}; it has {len(self)}") from None


def _demanding(value: Any) -> Any:
    if isinstance(value, dict):
        return _Object({key: _demanding(item) for key, item in value.items()})
    return _Array(map(_demanding, value)) if isinstance(value, list) else value


@dataclass(frozen=True, kw_only=True)
class ApiClient:
    """Talks to one HTTP port, with ``tls`` over HTTPS, or instead to a unix ``socket`` where there is a path of one.

    ``timeout`` in seconds holds for requests that do not say otherwise.

    Every method raises :class:`Unreachable` when no answer comes; any status is an answer. A ``token`` travels
    in ``X-Consul-Token``; ``own_token`` stands for a missing one, and an empty one is none. A body that is not
    ``str`` or ``bytes`` is sent as JSON.
    """

    port: int
    history: History
    host: str = "127.0.0.1"
    timeout: float = 10.0
    own_token: str = field(default="", repr=False)
    socket: str = ""
    tls: ssl.SSLContext | None = None

    def get(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """``GET path``; give a ``timeout`` longer than ``wait`` for a blocking query."""
        return self.request("GET", path, query=query, token=token, headers=headers, timeout=timeout)

    def put(
        self,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """``PUT path``."""
        return self.request("PUT", path, body, query=query, token=token, headers=headers, timeout=timeout)

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """``POST path``."""
        return self.request("POST", path, body, query=query, token=token, headers=headers, timeout=timeout)

    def delete(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """``DELETE path``."""
        return self.request("DELETE", path, query=query, token=token, headers=headers, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        query: Mapping[str, str] | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Response:
        """Any method, for the checks that try what is not allowed."""
        payload = body if isinstance(body, str | bytes | None) else json.dumps(body)
        sent = dict(headers or {})
        token = self.own_token if token is None else token
        if token:
            sent["X-Consul-Token"] = token
            self.history.hide(token)
        target = quote(path, safe="/:?=&%+") + (f"?{urlencode(query)}" if query else "")
        event = {"method": method, "path": path, "query": dict(query or {}), "headers": sent, "body": body}
        began = time.monotonic()
        connection = self._connection(timeout or self.timeout)
        try:
            connection.request(method, target, payload, sent)
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", errors="replace")
        except (OSError, http.client.HTTPException) as error:
            reason = f"{method} {path}: {type(error).__name__}: {error}"
            self.history.record("request", **event, error=str(error), took=round(time.monotonic() - began, 4))
            raise Unreachable(self.history.redact_text(reason)) from error
        finally:
            connection.close()
        self.history.record(
            "request",
            **event,
            status=answer.status,
            answer=_recordable(text),
            took=round(time.monotonic() - began, 4),
        )
        return Response(status=answer.status, headers=Headers(dict(answer.getheaders())), text=text)

    def _connection(self, seconds: float) -> http.client.HTTPConnection:
        if self.socket:
            return _SocketConnection(self.socket, timeout=seconds)
        if self.tls is not None:
            return http.client.HTTPSConnection(self.host, self.port, timeout=seconds, context=self.tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=seconds)


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, *, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _recordable(text: str) -> Any:
    """A body as the history keeps it: parsed, so that secrets can be told by their keys; long ones cut."""
    try:
        return json.loads(text)
    except ValueError:
        return text if len(text) <= _RECORDED_BODY else f"{text[:_RECORDED_BODY]}… ({len(text)} characters)"
