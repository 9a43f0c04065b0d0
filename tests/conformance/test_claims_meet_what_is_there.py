"""Features are claimed, taken back or looked for; the report tells of it, and claims decide what is asked."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from conformance.claims import PROBES, Finding, probe, settle
from conformance.instruments.api import ApiClient
from conformance.instruments.history import History
from conformance.report.model import Claim, Presence
from conformance.report.verdict import ProfileResult, Verdict
from conformance.requirements import Feature
from tests.conformance.tiny import Suite

PRESENT, ABSENT, UNKNOWN = Presence.PRESENT, Presence.ABSENT, Presence.UNKNOWN
QUERY = Feature.PREPARED_QUERY


@contextmanager
def agent(paths: Mapping[str, int], *, others: int = 404, sidecars: bool = False) -> Iterator[ApiClient]:
    """What answers these paths with a status each, all ``others`` alike, and keeps sidecars or does not."""
    services: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/v1/agent/services"
            self.send_response(200 if known else paths.get(self.path, others))
            self.end_headers()
            self.wfile.write(json.dumps(services).encode())

        def do_PUT(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            services.extend([body["Name"], *([f"{body['Name']}-sidecar-proxy"] if sidecars else [])])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield ApiClient(port=server.server_port, history=History())
        finally:
            server.shutdown()


def found(client: ApiClient) -> Mapping[Feature, Presence]:
    return {feature: presence for feature, (presence, _) in probe(client).items()}


def test_what_answers_like_nobody_is_absent() -> None:
    paths = {"/v1/query": 200, "/v1/connect/intentions": 403, "/v1/catalog/services": 500}
    with agent(paths) as client:
        assert found(client) == {
            Feature.DISCOVERY: PRESENT,
            Feature.ACCESS_CONTROL: PRESENT,
            Feature.PREPARED_QUERY: PRESENT,
            Feature.SIDECAR: ABSENT,
            Feature.OPERATIONS: ABSENT,
        }
    with agent({}, others=405, sidecars=True) as client:
        assert found(client) == {**dict.fromkeys(PROBES, ABSENT), Feature.SIDECAR: PRESENT}


def test_whoever_answers_everything_teaches_nothing() -> None:
    with agent({}, others=200) as client:
        assert set(found(client).values()) == {UNKNOWN, ABSENT}
        assert found(client)[Feature.SIDECAR] is ABSENT


def test_who_does_not_answer_teaches_nothing() -> None:
    with agent({}) as client:
        pass
    assert set(found(client).values()) == {UNKNOWN}


@pytest.mark.parametrize(
    ("declared", "exempt", "detect", "presence", "claim", "contradicts"),
    [
        (True, False, False, PRESENT, Claim.DECLARED, False),
        (True, False, False, UNKNOWN, Claim.DECLARED, False),
        (True, False, False, ABSENT, Claim.DECLARED, True),
        (True, False, True, ABSENT, Claim.UNDETECTED, False),
        (True, False, True, UNKNOWN, Claim.DECLARED, False),
        (True, True, False, ABSENT, Claim.EXEMPT, False),
        (True, True, True, ABSENT, Claim.EXEMPT, False),
        (True, True, False, PRESENT, Claim.EXEMPT, True),
        (False, False, False, ABSENT, Claim.UNDECLARED, False),
        (False, False, True, PRESENT, Claim.UNDECLARED, True),
    ],
)
def test_claims_are_settled(
    declared: bool, exempt: bool, detect: bool, presence: Presence, claim: Claim, contradicts: bool
) -> None:
    findings: Mapping[Feature, Finding] = {QUERY: (presence, "so it seems")}
    entries = settle(
        {QUERY} if declared else (), exempt={QUERY} if exempt else (), detect=detect, findings=findings
    )
    assert [entry.feature for entry in entries] == list(Feature)
    (entry,) = (entry for entry in entries if entry.feature is QUERY)
    assert (entry.claim, entry.presence) == (claim, presence)
    assert bool(entry.unclaimed) is (claim is not Claim.DECLARED)
    assert bool(entry.contradiction) is contradicts


DISABLED = (0, Verdict.DISABLED, ProfileResult.UNCLAIMED)
CHECKS = {
    "tiny/good/01": "pass",
    "tiny/prepared-query/01": 'assert lab.agent().api.get("/v1/query").status == 200',
}


@pytest.mark.parametrize(
    ("arguments", "code", "verdict", "profile", "claim"),
    [
        ((), 1, Verdict.FAIL, ProfileResult.FAILURE, Claim.DECLARED),
        (("--exempt-features", "sidecar,prepared-query"), *DISABLED, Claim.EXEMPT),
        (("--detect-features",), *DISABLED, Claim.UNDETECTED),
    ],
)
def test_an_undeclared_absence_fails(
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    verdict: Verdict,
    profile: ProfileResult,
    claim: Claim,
) -> None:
    suite = Suite.of(tmp_path, CHECKS)
    ended = suite.run(*arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    report = suite.report()
    assert report.verdicts == {"tiny/good/01": Verdict.PASS, "tiny/prepared-query/01": verdict}
    assert (report.profiles["core"], report.profiles["prepared-query"]) == (ProfileResult.SUCCESS, profile)
    (entry,) = (entry for entry in report.target.features if entry.feature is QUERY)
    assert (entry.claim, entry.presence) == (claim, ABSENT)
    assert "GET /v1/query is answered with 404" in entry.seen
    told = "feature prepared-query is declared and absent: GET /v1/query is answered with 404"
    assert (told in ended.stdout) is (claim is Claim.DECLARED)


def test_nothing_is_probed_that_nothing_depends_on(tmp_path: Path) -> None:
    suite = Suite.of(tmp_path, CHECKS)
    assert suite.run("tiny/good/01").returncode == 0
    assert {entry.presence for entry in suite.report().target.features} == {UNKNOWN}
