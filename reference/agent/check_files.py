"""The checks of an agent in its data directory, in the original's shape::

    checks/<md5>         checks registered over HTTP, and maintenance
    checks/state/<md5>   what TTL checks were told last, and until when it counts

A check comes back as critical, so that nothing is used before it was looked at; a TTL check with what it was told
last, if its time is not over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from reference.agent.folder import RecordFiles, file_name
from reference.agent.local_checks import LocalCheck
from reference.agent.names import go_name
from reference.catalog.model import Check, Status
from reference.config.checks import CheckDefinition

_NANOSECONDS = 1_000_000_000


class _Record(msgspec.Struct, rename=go_name):
    """JSON with the original's spelling; unknown keys of a file are ignored."""


class _HealthCheck(_Record, kw_only=True):
    node: str = ""
    check_id: str
    name: str = ""
    status: str = ""
    notes: str = ""
    output: str = ""
    service_id: str = ""
    service_name: str = ""
    service_tags: tuple[str, ...] | None = None
    definition: dict[str, Any] = msgspec.field(default_factory=dict)
    create_index: int = 0
    modify_index: int = 0


class _CheckType(_Record, kw_only=True):
    """How a check is done; times in nanoseconds."""

    check_id: str = ""
    name: str = ""
    status: str = ""
    notes: str = ""
    script_args: tuple[str, ...] | None = None
    http: str = msgspec.field(name="HTTP", default="")
    header: Mapping[str, Sequence[str]] | None = None
    method: str = ""
    tcp: str = msgspec.field(name="TCP", default="")
    interval: int = 0
    alias_node: str = ""
    alias_service: str = ""
    docker_container_id: str = ""
    shell: str = ""
    grpc: str = msgspec.field(name="GRPC", default="")
    grpc_use_tls: bool = msgspec.field(name="GRPCUseTLS", default=False)
    tls_skip_verify: bool = msgspec.field(name="TLSSkipVerify", default=False)
    timeout: int = 0
    ttl: int = msgspec.field(name="TTL", default=0)
    deregister_critical_service_after: int = 0


class _CheckFile(_Record, kw_only=True):
    check: _HealthCheck
    chk_type: _CheckType | None = None
    token: str = ""
    #: Our own addition: whether the check is part of the definition of its service.
    inline: bool | msgspec.UnsetType = msgspec.UNSET


class _StateFile(_Record, kw_only=True):
    check_id: str
    output: str = ""
    status: str
    expires: int


class CheckFiles:
    """An observer of the local checks, and the memory of what TTL checks were told."""

    def __init__(
        self, root: Path, records: RecordFiles, *, now: Callable[[], float] = time.time, node: str = ""
    ) -> None:
        self._checks = root / "checks"
        self._states = root / "checks" / "state"
        self._records = records
        self._now = now
        self._node = node

    @property
    def directory(self) -> Path:
        """What has to be there."""
        return self._checks

    def load(self) -> tuple[LocalCheck, ...]:
        """The checks that an earlier run left. Raises :class:`~reference.agent.folder.PersistenceError`."""
        checks = []
        for path, content in self._records.files(self._checks):
            try:
                checks.append(_decode(content))
            except ValueError as error:
                self._records.set_aside(path, error)
        return tuple(checks)

    def sweep(self, checks: set[str]) -> None:
        """Remove the files of all other checks, and results whose time is over."""
        keep = {file_name(check_id) for check_id in checks}
        for path in self._records.entries(self._checks):
            if path.name not in keep:
                self._records.remove(path)
        for path, content in self._records.files(self._states):
            try:
                state = msgspec.json.decode(content, type=_StateFile)
            except ValueError as error:
                self._records.set_aside(path, error)
                continue
            if path.name not in keep and state.expires <= self._now():
                self._records.remove(path)

    def check_put(self, check: LocalCheck) -> None:
        """Keep a check that was registered over HTTP; one of a file needs no memory."""
        path = self._checks / file_name(check.id)
        if check.from_file:
            self._records.remove(path)
        else:
            self._records.write(path, _encode(check, self._node))

    def check_gone(self, check: LocalCheck) -> None:
        """Forget a check, and what it was told."""
        self._records.remove(self._checks / file_name(check.id))
        self._records.remove(self._states / file_name(check.id))

    def remember_result(self, check_id: str, status: Status, output: str, *, expires: float) -> None:
        """Remember what a TTL check was told."""
        self._records.make_directory(self._states)
        state = _StateFile(check_id=check_id, output=output, status=status, expires=int(expires))
        self._records.write(self._states / file_name(check_id), msgspec.json.encode(state))

    def recall_result(self, check_id: str) -> tuple[Status, str] | None:
        """What a TTL check was told, while it counts."""
        path = self._states / file_name(check_id)
        content = self._records.read(path)
        if content is None:
            return None
        try:
            state = msgspec.json.decode(content, type=_StateFile)
            status = Status(state.status)
        except ValueError as error:
            self._records.set_aside(path, error)
            return None
        return (status, state.output) if self._now() < state.expires else None


def _encode(check: LocalCheck, node: str) -> bytes:
    record, definition = check.record, check.definition
    stored = _CheckFile(
        check=_HealthCheck(
            node=node,
            check_id=record.id,
            name=record.name,
            status=record.status,
            notes=record.notes,
            output=record.output,
            service_id=record.service_id,
            service_name=record.service_name,
            service_tags=record.service_tags or None,
        ),
        chk_type=None if definition is None else _check_type(definition),
        token=check.token,
        inline=check.inline or msgspec.UNSET,
    )
    return msgspec.json.encode(stored, order="deterministic")


def _check_type(definition: CheckDefinition) -> _CheckType:
    return _CheckType(
        check_id=definition.id,
        name=definition.name,
        status=definition.status,
        notes=definition.notes,
        script_args=definition.args or None,
        http=definition.http,
        header=dict(definition.header) or None,
        method=definition.method,
        tcp=definition.tcp,
        interval=round(definition.interval * _NANOSECONDS),
        alias_node=definition.alias_node,
        alias_service=definition.alias_service,
        tls_skip_verify=definition.tls_skip_verify,
        timeout=round(definition.timeout * _NANOSECONDS),
        ttl=round(definition.ttl * _NANOSECONDS),
        deregister_critical_service_after=round(definition.deregister_after * _NANOSECONDS),
    )


def _decode(content: bytes) -> LocalCheck:
    """A stored check. Raises :class:`ValueError` when the content is none that can be done."""
    stored = msgspec.json.decode(content, type=_CheckFile)
    check = stored.check
    if not check.check_id:
        raise ValueError("it has no ID")
    definition = None
    if stored.chk_type is not None:
        definition = replace(_definition(stored.chk_type), service_id=check.service_id)
        if definition.problem:
            raise ValueError(definition.problem)
    return LocalCheck(
        record=Check(
            id=check.check_id,
            name=check.name,
            status=Status.CRITICAL,
            notes=check.notes,
            service_id=check.service_id,
            service_name=check.service_name,
            service_tags=check.service_tags or (),
        ),
        definition=definition,
        token=stored.token,
        inline=stored.inline is True,
    )


def _definition(stored: _CheckType) -> CheckDefinition:
    return CheckDefinition(
        id=stored.check_id,
        name=stored.name,
        status=stored.status,
        notes=stored.notes,
        args=stored.script_args or (),
        http=stored.http,
        header=stored.header or {},
        method=stored.method,
        tcp=stored.tcp,
        interval=stored.interval / _NANOSECONDS,
        alias_node=stored.alias_node,
        alias_service=stored.alias_service,
        tls_skip_verify=stored.tls_skip_verify,
        timeout=stored.timeout / _NANOSECONDS,
        ttl=stored.ttl / _NANOSECONDS,
        deregister_after=stored.deregister_critical_service_after / _NANOSECONDS,
    )
