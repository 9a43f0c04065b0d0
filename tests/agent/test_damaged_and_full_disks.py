"""What a damaged or full disk does to an agent: it says so, serves the rest, and loses nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path
from typing import Any

import pytest

from reference.agent.folder import PersistenceError
from reference.agent.persistence import DataDirectory
from reference.agent.services import LocalState
from reference.catalog.model import Status
from reference.config.checks import CheckDefinition
from reference.files import LinuxFiles
from tests.agent.defining import proxied, service, state
from tests.agents import SLEEP, Agent, running_agent
from tests.http.serving import api


class Disk(LinuxFiles):
    """The disk of this machine, which may be full."""

    full = False

    def write(self, descriptor: int, content: bytes) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        super().write(descriptor, content)


def attach(local: LocalState, path: Path, disk: Disk) -> DataDirectory:
    directory = DataDirectory(path, files=disk)
    directory.open()
    local.attach(directory, keeper=True)
    local.checks.attach(directory.checks, keeper=True)
    return directory


def test_a_full_disk_refuses_each_change_and_keeps_what_was_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        disk = Disk()
        async with api(allow_managed_api_registration=True) as running:
            directory = attach(running.backend.state, tmp_path, disk)
            running.backend.checks._memory = directory.checks

            async def put(path: str, body: Any = None) -> tuple[int, str]:
                answer = await running.client.put(f"/v1/agent/{path}", json=body)
                return answer.status_code, answer.text

            async def everything() -> tuple[Any, Any]:
                return await running.get("/v1/agent/services"), await running.get("/v1/agent/checks")

            web = {"Name": "web", "Port": 1, "Check": {"TTL": "1h"}, "Connect": {"SidecarService": {}}}
            assert (await put("service/register", web))[0] == 200
            assert (await put("check/pass/service:web"))[0] == 200
            before = await everything()
            disk.full = True
            for path, body in (
                ("service/register", {"Name": "db", "Check": {"TTL": "1h"}}),
                ("service/register", {**web, "Port": 2}),
                ("service/register", {"Name": "p", "Port": 1, "Connect": {"Proxy": {}}}),
                ("check/register", {"Name": "c", "TTL": "1h"}),
                ("check/fail/service:web", None),
                ("maintenance?enable=true", None),
                ("service/maintenance/web?enable=true", None),
            ):
                status, text = await put(path, body)
                assert status == 500, path
                assert "No space left on device" in text
                assert "Check its owner, its mode and the free space" in text
                assert await everything() == before, path
            disk.full = False
            assert (await put("service/register", {"Name": "db"}))[0] == 200
            directory.close()
        memory = attach(state(), tmp_path, Disk()).load()
        assert {each.id for each in memory.definitions} == {"web", "web-sidecar-proxy", "db"}
        assert memory.sidecars == {"web-sidecar-proxy": "web"}
        assert "service:web" in {check.id for check in memory.checks}

    asyncio.run(scenario())


def test_a_check_comes_back_as_it_was_registered_and_with_what_it_was_told(tmp_path: Path) -> None:
    definition = CheckDefinition(
        id="c",
        name="n",
        notes="x",
        service_id="web",
        http="http://h/",
        header={"X-A": ["1"]},
        method="PUT",
        interval=1.5,
        timeout=0.25,
        tls_skip_verify=True,
        deregister_after=5400.0,
    )
    local = state()
    directory = attach(local, tmp_path, Disk())
    local.register(service("web", tags=("t",)), from_file=False)
    local.register_check(definition, token="secret", from_file=False)
    local.register_check(CheckDefinition(name="t", ttl=9), token="", from_file=False)
    directory.checks.remember_result("t", Status.WARNING, "so so", expires=2**40)
    directory.checks.remember_result("old", Status.WARNING, "over", expires=1)
    before = local.checks.get("c")
    directory.close()

    again = state()
    directory = DataDirectory(tmp_path)
    directory.open()
    memory = directory.load()
    for stored in memory.definitions:
        again.register(stored, from_file=False)
    for check in memory.checks:
        again.restore_check(check)
    assert again.checks.get("c") == before
    assert directory.checks.recall_result("t") == (Status.WARNING, "so so")
    assert directory.checks.recall_result("old") is None


def test_a_stored_check_has_the_originals_shape(tmp_path: Path) -> None:
    local = state()
    attach(local, tmp_path, Disk())
    local.register_check(CheckDefinition(name="nodechk", ttl=3600), token="", from_file=False)
    # The name and the content are what a real 1.4.3 agent made of the same request, but for the node.
    stored = json.loads((tmp_path / "checks" / "273c9edf7d08380e6532815ae50688d7").read_bytes())
    assert stored == {
        "Check": {
            "Node": "",
            "CheckID": "nodechk",
            "Name": "nodechk",
            "Status": "critical",
            "Notes": "",
            "Output": "",
            "ServiceID": "",
            "ServiceName": "",
            "ServiceTags": None,
            "Definition": {},
            "CreateIndex": 0,
            "ModifyIndex": 0,
        },
        "ChkType": {
            "CheckID": "",
            "Name": "nodechk",
            "Status": "",
            "Notes": "",
            "ScriptArgs": None,
            "HTTP": "",
            "Header": None,
            "Method": "",
            "TCP": "",
            "Interval": 0,
            "AliasNode": "",
            "AliasService": "",
            "DockerContainerID": "",
            "Shell": "",
            "GRPC": "",
            "GRPCUseTLS": False,
            "TLSSkipVerify": False,
            "Timeout": 0,
            "TTL": 3600000000000,
            "DeregisterCriticalServiceAfter": 0,
        },
        "Token": "",
    }


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b'{"Check": {"CheckID": ""}}', b"\xff"])
@pytest.mark.parametrize("folder", ["checks", "checks/state"])
def test_a_damaged_check_is_set_aside(
    tmp_path: Path, folder: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    local = state()
    directory = attach(local, tmp_path, Disk())
    local.register_check(CheckDefinition(name="good", ttl=9), token="", from_file=False)
    directory.checks.remember_result("good", Status.PASSING, "", expires=2**40)
    broken = tmp_path / folder / ("0" * 32)
    broken.write_bytes(content)
    assert [check.id for check in directory.load().checks] == ["good"]
    directory.sweep(services=set(), proxies=set(), checks={"good"})
    assert not broken.exists()
    (aside,) = (tmp_path / folder).glob("*.corrupt-*")
    assert aside.read_bytes() == content
    assert str(broken) in caplog.text


def test_a_sidecar_is_not_taken_for_the_record_of_a_managed_proxy(tmp_path: Path) -> None:
    local = state()
    directory = attach(local, tmp_path, Disk())
    local.register(proxied("web"), from_file=False)
    local.register(service("own", kind="connect-proxy"), from_file=False)
    assert {each.id for each in directory.load().definitions} == {"web", "own"}
    (tmp_path / "proxies" / next((tmp_path / "proxies").iterdir()).name).write_bytes(b"damaged")
    # Without its definition the record of the managed proxy belongs to nobody.
    assert {each.id for each in directory.load().definitions} == {"web", "own"}


def test_files_that_cannot_be_removed_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = state()
    attach(local, tmp_path, Disk())
    local.register_check(CheckDefinition(name="c", ttl=9), token="", from_file=False)

    def fail(self: LinuxFiles, path: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(LinuxFiles, "unlink", fail)
    with pytest.raises(PersistenceError, match="Read-only file system"):
        local.checks.drop("c")
    assert local.checks.get("c") is not None


def write_everything(running: Agent) -> None:
    put = running.client.put
    for name in ("web", "db"):
        body = {"Name": name, "Port": 1, "Check": {"TTL": "1h"}}
        put("/v1/agent/service/register", json=body).raise_for_status()
        put(f"/v1/agent/check/pass/service:{name}").raise_for_status()
    put("/v1/catalog/register", json={"Node": "far", "Address": "10.0.0.1"}).raise_for_status()


def damage(data: Path) -> set[str]:
    """Damage one file of each kind; their names."""
    chosen = {data / "node-id", data / "state.sqlite3"}
    for folder in ("services", "checks", "checks/state", "proxies"):
        chosen.add(min(path for path in (data / folder).iterdir() if path.is_file()))
    for path in chosen:
        path.write_bytes(path.read_bytes()[:5])
    for side in data.glob("state.sqlite3-*"):
        side.unlink()
    return {str(path) for path in chosen}


def test_an_agent_starts_with_damaged_files_and_names_them(tmp_path: Path) -> None:
    app = {"name": "app", "port": 2, "connect": {"proxy": {"command": SLEEP}}}
    with running_agent(tmp_path, app) as running:
        write_everything(running)
        running.kill()
        data = tmp_path / "data"
        damaged = damage(data)
        running.start()
        assert len({"web", "db"} & set(running.get("/v1/agent/services"))) == 1
        assert {"app", "app-proxy"} <= set(running.get("/v1/agent/services"))
        assert [each["Node"] for each in running.get("/v1/catalog/nodes")] != []
        log = running.output()
        for path in damaged:
            assert path in log
        assert len(list(data.rglob("*.corrupt-*"))) == len(damaged)
        running.put("/v1/catalog/register", {"Node": "again", "Address": "10.0.0.1"}).raise_for_status()


def test_an_agent_does_not_start_without_the_rules_that_it_had(tmp_path: Path) -> None:
    with running_agent(tmp_path) as running:
        running.kill()
        rules = tmp_path / "data" / "rules.sqlite3"
        rules.write_bytes(b"damaged")
        said = running.fails()
    assert f"the rules in {rules} cannot be opened" in said
    assert rules.read_bytes() == b"damaged"
