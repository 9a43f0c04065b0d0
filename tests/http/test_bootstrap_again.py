"""Who lost every management token gets another one by a file that only the administrator can write."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reference.config.model import AccessOptions
from reference.http.acl import RESET_FILE
from tests.http.serving import api

DENYING = AccessOptions(enabled=True, allows_by_default=False)


def test_the_reset_index_in_the_data_directory_allows_one_more(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with api(access=DENYING, data_dir=tmp_path) as agent:
            first = await agent.client.put("/v1/acl/bootstrap")
            assert first.status_code == 200
            assert first.json()["ID"] == first.json()["SecretID"]
            refused = await agent.client.put("/v1/acl/bootstrap")
            assert refused.status_code == 403
            index = refused.text.partition("reset index: ")[2].rstrip(")")
            file = tmp_path / RESET_FILE
            file.write_text(f"{index}\n")
            second = await agent.client.put("/v1/acl/bootstrap")
            assert second.status_code == 200
            assert second.json()["SecretID"] != first.json()["SecretID"]
            assert not file.exists(), "it was good for one token"
            assert (await agent.client.put("/v1/acl/bootstrap")).status_code == 403

    asyncio.run(scenario())


@pytest.mark.parametrize(("content", "status"), [("1", 400), ("no number", 403)])
def test_a_wrong_reset_index_is_refused(tmp_path: Path, content: str, status: int) -> None:
    async def scenario() -> None:
        async with api(access=DENYING, data_dir=tmp_path) as agent:
            await agent.client.put("/v1/acl/bootstrap")
            (tmp_path / RESET_FILE).write_text(content)
            assert (await agent.client.put("/v1/acl/bootstrap")).status_code == status

    asyncio.run(scenario())


def test_without_access_control_there_is_nothing_to_manage() -> None:
    async def scenario() -> None:
        async with api() as agent:
            for method, path in (
                ("PUT", "bootstrap"),
                ("GET", "tokens"),
                ("PUT", "token"),
                ("PUT", "create"),
            ):
                answer = await agent.client.request(method, f"/v1/acl/{path}")
                assert (answer.status_code, answer.text) == (401, "ACL support disabled")

    asyncio.run(scenario())
