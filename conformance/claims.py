"""What an implementation claims to have, and whether a probe finds that.

Claims decide what is asked of it: its target declares them, the operator takes some back (``--exempt-features``), or
has those taken back which a probe does not find (``--detect-features``). Otherwise a probe only tells: what is claimed
and not there fails by its own checks, and a probe that errs spoils no verdict.

An endpoint is there when it is answered with another status than a path that nobody knows.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping

import pytest

from conformance import budgets
from conformance.instruments.api import ApiClient, Unreachable
from conformance.instruments.history import without_secrets
from conformance.plugin.session import lone_lab
from conformance.plugin.waits import CheckFailure
from conformance.report.model import Claim, FeatureEntry, Presence
from conformance.requirements import Feature
from conformance.targets import AdapterError, Target
from conformance.targets.privileges import Privileges

#: Whether it is there, and what was seen of it.
Finding = tuple[Presence, str]
#: An agent that does not come up is for the checks to tell of: nobody waits longer for it than it is allowed.
_PATIENCE = 1.0


def _endpoint(path: str) -> Callable[[ApiClient], Finding]:
    def probe(api: ApiClient) -> Finding:
        unknown = api.get(f"/v1/{secrets.token_hex(8)}").status
        if unknown < 400:
            return Presence.UNKNOWN, f"a path that nobody knows is answered with {unknown}"
        told = api.get(path).status
        if told == unknown:
            return Presence.ABSENT, f"GET {path} is answered with {told}, like a path that nobody knows"
        return Presence.PRESENT, f"GET {path} is answered with {told}"

    return probe


def _sidecar(api: ApiClient) -> Finding:
    name = f"proxyproof-{secrets.token_hex(4)}"
    body = {"Name": name, "Port": 1, "Connect": {"SidecarService": {}}}
    told = api.put("/v1/agent/service/register", body).status
    if told == 200 and f"{name}-sidecar-proxy" in api.get("/v1/agent/services").text:
        return Presence.PRESENT, "a service with a sidecar was registered, and its sidecar with it"
    return (
        Presence.ABSENT,
        f"the registration of a service with a sidecar is answered with {told}, and there is none",
    )


#: What can be asked for in a moment. The rest is only seen in what an agent does.
PROBES: Mapping[Feature, Callable[[ApiClient], Finding]] = {
    Feature.DISCOVERY: _endpoint("/v1/catalog/services"),
    Feature.ACCESS_CONTROL: _endpoint("/v1/connect/intentions"),
    Feature.PREPARED_QUERY: _endpoint("/v1/query"),
    Feature.SIDECAR: _sidecar,
    Feature.OPERATIONS: _endpoint("/v1/agent/connect/proxies"),
}


def probe(api: ApiClient) -> Mapping[Feature, Finding]:
    """Ask a fresh agent for each feature that can be asked for."""
    found: dict[Feature, Finding] = {}
    for feature, ask in PROBES.items():
        try:
            found[feature] = ask(api)
        except Unreachable as error:
            found[feature] = Presence.UNKNOWN, str(error)
    return found


def probed(target: Target, privileges: Privileges, *, time_scale: float) -> Mapping[Feature, Finding]:
    """What a probe finds in an agent that is started for that, as for a check, and ended."""
    try:
        with lone_lab(target, privileges, budgets.load(time_scale, _PATIENCE)) as lab:
            return probe(lab.agent().api)
    except (CheckFailure, OSError, AdapterError, pytest.skip.Exception) as error:
        said = without_secrets(str(error)).partition("\n")[0]
        return dict.fromkeys(PROBES, (Presence.UNKNOWN, f"no agent came up to be asked: {said}"))


def settle(
    declared: Iterable[Feature],
    *,
    exempt: Iterable[Feature],
    detect: bool,
    findings: Mapping[Feature, Finding],
) -> tuple[FeatureEntry, ...]:
    """What becomes of each feature."""
    declared, exempt = frozenset(declared), frozenset(exempt)

    def entry(feature: Feature) -> FeatureEntry:
        presence, seen = findings.get(feature, (Presence.UNKNOWN, ""))
        if feature in exempt:
            claim = Claim.EXEMPT
        elif feature not in declared:
            claim = Claim.UNDECLARED
        else:
            claim = Claim.UNDETECTED if detect and presence is Presence.ABSENT else Claim.DECLARED
        return FeatureEntry(feature=feature, claim=claim, presence=presence, seen=seen)

    return tuple(map(entry, Feature))
