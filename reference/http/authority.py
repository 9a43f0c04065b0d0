"""The roots of the mesh and the configuration of its authority (section CA)."""

from __future__ import annotations

from collections.abc import Mapping

from reference.access.authorizer import Level, Resource
from reference.http import wire
from reference.http.exchange import REFUSED, Answer, ApiError, Call
from reference.http.reading import checked_options, query_headers
from reference.mesh.authority_config import PROVIDER, ConfigurationRefused, parse
from reference.mesh.mesh import ROOTS, Mesh


async def agent_roots(call: Call) -> Answer:
    """``GET /v1/agent/connect/ca/roots``: no permission needed (MP-INT-016, MP-TOK-012)."""
    answer = await roots(call)
    return Answer(body=answer.body, headers={**answer.headers, **cached(hit=True)})


async def roots(call: Call) -> Answer:
    """``GET /v1/connect/ca/roots``, blocking: the active root, and those before it that leaves may still be of."""
    authority = mesh(call).authority
    checked_options(call)
    index, known = await call.newer(
        lambda: (authority.index, authority.roots),
        sleep=lambda seconds: call.backend.watch.wait(ROOTS, seconds=seconds),
    )
    return Answer(body=wire.roots(known, authority.trust_domain), headers=query_headers(index))


async def configuration(call: Call) -> Answer:
    """``GET /v1/connect/ca/configuration``: never the private key, whoever asks (MP-CA-006)."""
    authority = mesh(call).authority
    checked_options(call)
    call.require(Resource.OPERATOR, "", Level.READ)
    return Answer(
        body=wire.AuthorityConfigView(
            provider=PROVIDER,
            config=authority.config.shown,
            create_index=authority.config_created,
            modify_index=authority.config_modified,
        )
    )


async def configure(call: Call) -> Answer:
    """``PUT /v1/connect/ca/configuration``: another key or root certificate is a rotation (MP-CA-007)."""
    changed = mesh(call)
    try:
        provider, options = _read(await call.json())
    except ValueError as error:
        raise ApiError(400, f"Request decode failed: {error}") from error
    call.check_datacenter()
    call.require(Resource.OPERATOR, "", Level.WRITE)
    if provider == "vault":
        raise ApiError(
            REFUSED, "error configuring provider: the CA provider vault is not supported by this agent"
        )
    if provider != PROVIDER:
        raise ApiError(REFUSED, f'could not initialize provider: unknown CA provider "{provider}"')
    try:
        changed.configure(parse(options))
    except ConfigurationRefused as error:
        raise ApiError(REFUSED, f"error configuring provider: {error}") from error
    return Answer()


def mesh(call: Call) -> Mesh:
    """The certificates of the mesh, which an agent without Connect has not (MP-CA-001)."""
    found = call.backend.mesh
    if found is None:
        raise ApiError(500, "Connect must be enabled in order to use this endpoint")
    return found


def cached(*, hit: bool) -> dict[str, str]:
    """What the original says of its cache."""
    return {"X-Cache": "HIT", "Age": "0"} if hit else {"X-Cache": "MISS"}


def _read(body: object) -> tuple[str, Mapping[str, object] | None]:
    """Provider and options; keys in any case, as the original reads them. Raises :class:`ValueError`."""
    if not isinstance(body, dict):
        raise ValueError("'' expected a map")
    given = {key.lower(): value for key, value in body.items()}
    provider, options = given.get("provider") or "", given.get("config")
    if not isinstance(provider, str):
        raise ValueError("'Provider' expected type 'string'")
    if options is not None and not isinstance(options, dict):
        raise ValueError("'Config' expected a map")
    return provider, options
