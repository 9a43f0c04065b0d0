"""The authority over HTTP: its configuration, a rotation, and who hears of it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from cryptography import x509

from reference.mesh.certificates import key_pem, new_key
from tests.http.serving import Api, api

PATH = "/v1/connect/ca/configuration"
ROOTS = "/v1/connect/ca/roots"
LEAF = "/v1/agent/connect/ca/leaf/web"


async def rotate(agent: Api, **more: object) -> str:
    key = key_pem(new_key())
    body = {"Provider": "consul", "Config": {"PrivateKey": key, **more}}
    answer = await agent.client.put(PATH, json=body)
    assert (answer.status_code, answer.text) == (200, "")
    return key


async def waiting_for(agent: Api, path: str) -> asyncio.Task[httpx.Response]:
    """A reader that blocks on what there is now."""
    index = (await agent.client.get(path)).headers["x-consul-index"]
    before = agent.backend.watch.waiting
    task = asyncio.ensure_future(agent.client.get(f"{path}?index={index}&wait=300s"))
    while agent.backend.watch.waiting == before:
        await asyncio.sleep(0)
    return task


def test_a_rotation_is_what_the_original_shows() -> None:
    """MP-CA-006, MP-CA-007."""

    async def story() -> None:
        async with api() as agent:
            before = await agent.get(ROOTS)
            key = await rotate(agent, LeafCertTTL="5h", Other=1)
            after = await agent.get("/v1/agent/connect/ca/roots")
            assert after["TrustDomain"] == before["TrustDomain"]
            shown = {
                root["ID"]: (root["Active"], len(root["IntermediateCerts"] or ())) for root in after["Roots"]
            }
            assert shown == {before["ActiveRootID"]: (False, 0), after["ActiveRootID"]: (True, 1)}
            answer = await agent.client.get(PATH)
            config = {"LeafCertTTL": "5h", "Other": 1, "PrivateKey": "hidden"}
            assert answer.json()["Config"] == config
            assert list(answer.json()) == ["Provider", "Config", "CreateIndex", "ModifyIndex"]
            assert answer.json()["ModifyIndex"] > answer.json()["CreateIndex"]
            everything = answer.text + json.dumps(after)
            assert not any(line in everything for line in key.splitlines()[1:-1])

    asyncio.run(story())


def test_readers_of_roots_and_leaves_wake_and_the_leaf_brings_the_link() -> None:
    """MP-CA-008, MP-INT-015."""

    async def story() -> None:
        async with api() as agent:
            old_leaf = (await agent.get(LEAF))["CertPEM"]
            roots = [await waiting_for(agent, path) for path in (ROOTS, "/v1/agent/connect/ca/roots")]
            leaf = await waiting_for(agent, LEAF)
            await rotate(agent)
            for answer in await asyncio.wait_for(asyncio.gather(*roots), 30):
                assert len(answer.json()["Roots"]) == 2
            new = (await asyncio.wait_for(leaf, 30)).json()["CertPEM"]
            assert new != old_leaf
            chain = x509.load_pem_x509_certificates(new.encode())
            assert len(chain) == 2
            assert chain[1].subject == chain[0].issuer

    asyncio.run(story())


def test_renewals_after_a_rotation_are_spread() -> None:
    """No more per second than ``csr_max_per_second``, and no later than in half a minute."""

    async def spread(services: int, rate: float) -> list[float]:
        async with api() as agent:
            assert agent.backend.mesh is not None
            leaves = agent.backend.mesh.leaves
            for number in range(services):
                leaves.current(f"service-{number}")
            await rotate(agent, CSRMaxPerSecond=rate)
            rotated = time.time()  # by then at the latest
            return [leaf.renew_at.timestamp() - rotated for leaf in leaves.known]

    slow = asyncio.run(spread(100, 5.0))
    assert max(slow) < 22
    assert max(slow) - min(slow) > 5
    assert max(asyncio.run(spread(100, 1.0))) < 32
    assert max(asyncio.run(spread(100, 0.0))) < 2


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "text"),
    [
        ("PUT", PATH, "", 400, "Request decode failed: EOF"),
        ("PUT", PATH, "{", 400, "Request decode failed: unexpected EOF"),
        ("PUT", PATH, "[]", 400, "Request decode failed: '' expected a map"),
        ("PUT", PATH, "null", 400, "Request decode failed: '' expected a map"),
        ("PUT", PATH, '{"Provider": 1}', 400, "Request decode failed: "),
        ("PUT", PATH, '{"Provider": "consul", "Config": 1}', 400, "Request decode failed: "),
        ("PUT", PATH, "{}", 400, 'could not initialize provider: unknown CA provider ""'),
        ("PUT", PATH, '{"Provider": "vault"}', 400, "error configuring provider: "),
        (
            "PUT",
            PATH,
            '{"provider": "consul", "config": {"leafcertttl": "10m"}}',
            400,
            "error configuring provider: leaf cert TTL must be greater than 1h",
        ),
        (
            "PUT",
            PATH,
            '{"Provider": "consul", "Config": {"LeafCertTTL": 5}}',
            400,
            "error configuring provider: leaf cert TTL must be greater than 1h",
        ),
        (
            "PUT",
            PATH,
            '{"Provider": "consul", "Config": {"LeafCertTTL": "x"}}',
            400,
            "error configuring provider: error decoding config: 1 error(s) decoding:\n\n"
            "* error decoding 'LeafCertTTL': time: invalid duration \"x\"",
        ),
        (
            "PUT",
            PATH,
            '{"Provider": "consul", "Config": {"RootCert": "x"}}',
            400,
            "error configuring provider: must provide a private key when providing a root cert",
        ),
        ("GET", f"{PATH}?dc=other", None, 400, "No path to datacenter"),
        ("PUT", f"{PATH}?dc=other", '{"Provider": "consul"}', 400, "No path to datacenter"),
        ("POST", PATH, "{}", 405, "method POST not allowed"),
    ],
)
def test_what_is_refused(method: str, path: str, body: str | None, status: int, text: str) -> None:
    """As the original does it, text for text."""

    async def asking() -> httpx.Response:
        async with api() as agent:
            return await agent.client.request(method, path, content=body)

    answer = asyncio.run(asking())
    assert answer.status_code == status
    assert answer.text.startswith(text)


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_without_connect_there_is_no_authority(method: str) -> None:
    """MP-CA-001."""

    async def asking() -> httpx.Response:
        async with api(connect=False) as agent:
            return await agent.client.request(method, PATH, content="{}")

    answer = asyncio.run(asking())
    assert answer.status_code == 500
    assert answer.text == "Connect must be enabled in order to use this endpoint"


def test_a_configuration_of_nothing_is_null() -> None:
    async def asking() -> Any:
        async with api() as agent:
            await agent.client.put(PATH, json={"Provider": "consul"})
            return await agent.get(PATH)

    assert asyncio.run(asking())["Config"] is None
