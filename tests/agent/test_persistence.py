"""The data directory: what is in it, and what it survives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reference.agent.persistence import DataDirectory, PersistenceError
from reference.agent.services import LocalState
from reference.config.model import ManagedProxy, ServiceDefinition, Upstream
from reference.files import LinuxFiles
from tests.agent.defining import BUILTIN, managed, proxied, service, state

OBSERVED = Path(__file__).parents[1] / "http" / "observed"
WEB_PROXY = "5c6e75c35549b0153623e105f7364d64"


def opened(path: Path) -> DataDirectory:
    directory = DataDirectory(path)
    directory.open()
    return directory


def kept(path: Path, *definitions: ServiceDefinition, from_file: bool = False) -> LocalState:
    """A state whose every change is in ``path``; the directory is free again for another agent."""
    directory = opened(path)
    local = state()
    local.attach(directory, keeper=True)
    for definition in definitions:
        local.register(definition, from_file=from_file)
    directory.close()
    return local


def files(path: Path) -> dict[str, int]:
    return {str(entry.relative_to(path)): entry.stat().st_mode & 0o777 for entry in sorted(path.rglob("*"))}


def test_names_and_modes_are_the_originals(tmp_path: Path) -> None:
    """MP-SNAP-006, MP-SNAP-007: the record of a proxy is stored though its service is from a file."""
    data = tmp_path / "data"
    kept(data, proxied(), from_file=True)
    opened(data).node_id()
    assert files(data) == {
        "agent.lock": 0o600,
        "checks": 0o700,
        "node-id": 0o600,
        "proxies": 0o700,
        f"proxies/{WEB_PROXY}": 0o600,
        "services": 0o700,
        f"services/{WEB_PROXY}": 0o600,
    }
    assert data.stat().st_mode & 0o777 == 0o700


def without_run(value: dict[str, Any]) -> dict[str, Any]:
    """A stored proxy without what differs from run to run."""
    value["ProxyToken"] = "<token>"
    value["Proxy"]["Command"] = ["<command>"]
    return value


def test_content_is_the_originals(tmp_path: Path) -> None:
    kept(
        tmp_path,
        ServiceDefinition(
            id="web",
            name="web",
            port=28080,
            proxy=ManagedProxy(
                upstreams=(Upstream(destination_name="redis", local_bind_port=21234),),
                config={"bind_port": 20052},
            ),
        ),
        from_file=True,
    )
    observed = json.loads((OBSERVED / "persisted-services-5c6e75c3.json").read_text())["body"]
    record = json.loads((tmp_path / "services" / WEB_PROXY).read_bytes())
    # Deviation: MP-CAT-002, the record of a proxy has its upstreams.
    assert [each["DestinationName"] for each in record["Service"]["Proxy"].pop("Upstreams")] == ["redis"]
    assert record == observed

    observed = json.loads((OBSERVED / "persisted-proxies-5c6e75c3.json").read_text())["body"]
    stored = json.loads((tmp_path / "proxies" / WEB_PROXY).read_bytes())
    # Our own addition, and the port, which the recorded agent chose by itself.
    assert stored.pop("OwnCommand") is False
    assert stored["Proxy"].pop("Config") == {"bind_port": 20052}
    assert stored["Proxy"]["ProxyService"]["Proxy"].pop("Upstreams")
    observed["Proxy"].pop("Config")
    assert without_run(stored) == without_run(observed)


def test_a_file_of_the_original_is_understood(tmp_path: Path) -> None:
    """Whoever comes from the original keeps token and port."""
    directory = opened(tmp_path)
    observed = json.loads((OBSERVED / "persisted-proxies-5c6e75c3.json").read_text())["body"]
    (tmp_path / "proxies" / WEB_PROXY).write_text(json.dumps(observed))
    remembered = directory.load().remembered["web-proxy"]
    assert (remembered.token, remembered.port) == (observed["ProxyToken"], 20052)


def test_a_service_registered_over_http_comes_back(tmp_path: Path) -> None:
    """MP-API-010: with its proxy, token and port."""
    definition = ServiceDefinition(
        id="api1",
        name="api",
        port=7001,
        address="10.0.0.1",
        tags=("a", "b"),
        meta={"k": "v"},
        token="t",
        enable_tag_override=True,
        proxy=ManagedProxy(
            exec_mode="daemon",
            command=("/bin/sleep", "779"),
            config={"k": [1, {"x": 2.5}]},
            upstreams=(
                Upstream(
                    destination_type="prepared_query",
                    destination_name="db",
                    destination_namespace="n",
                    datacenter="dc2",
                    local_bind_address="127.0.0.2",
                    local_bind_port=5,
                    config={"connect_timeout_ms": 1},
                ),
            ),
        ),
    )
    before = managed(kept(tmp_path, definition), "api1-proxy")
    memory = opened(tmp_path).load()
    assert memory.definitions == (definition,)
    assert memory.remembered["api1-proxy"].token == before.token
    assert memory.remembered["api1-proxy"].port == before.service.port


def test_a_default_command_is_not_remembered(tmp_path: Path) -> None:
    """An agent that moved starts the proxies of today's executable."""
    local = kept(tmp_path, proxied("api1"))
    assert managed(local, "api1-proxy").proxy.command == BUILTIN
    (definition,) = opened(tmp_path).load().definitions
    assert definition.proxy is not None
    assert definition.proxy.command == ()


def test_services_of_files_are_not_remembered(tmp_path: Path) -> None:
    kept(tmp_path, service("plain"), proxied("web"), from_file=True)
    memory = opened(tmp_path).load()
    assert memory.definitions == ()
    assert set(memory.remembered) == {"web-proxy"}


def test_deregistration_leaves_no_file(tmp_path: Path) -> None:
    """MP-CLEAN-001."""
    directory = opened(tmp_path)
    local = state()
    local.attach(directory, keeper=True)
    local.register(proxied(), from_file=False)
    local.deregister("web")
    assert set(files(tmp_path)) == {"agent.lock", "checks", "proxies", "services"}


def test_files_of_what_is_no_more_are_swept(tmp_path: Path) -> None:
    """MP-SNAP-008, without the orphan record of quirk 4."""
    kept(tmp_path, proxied("gone"), from_file=True)
    kept(tmp_path, proxied("web"), from_file=True)
    opened(tmp_path).sweep(services={"web", "web-proxy"}, proxies={"web-proxy"}, checks=set())
    assert set(files(tmp_path)) == {
        *("agent.lock", "checks", "proxies", "services", f"proxies/{WEB_PROXY}", f"services/{WEB_PROXY}"),
    }


@pytest.mark.parametrize("step", ["write", "sync", "replace"])
def test_a_crash_while_writing_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Crash(BaseException):
        """Nothing catches it, like the end of a process."""

    def crash(*arguments: object) -> None:
        raise Crash

    before = managed(kept(tmp_path, proxied("api1", config={"a": 1})), "api1-proxy")
    directory = opened(tmp_path)
    local = state(remembered=directory.load().remembered)
    for definition in directory.load().definitions:
        local.register(definition, from_file=False)
    local.attach(directory, keeper=True)
    with monkeypatch.context() as patched:
        patched.setattr(LinuxFiles, step, crash)
        # What a dead process cannot do either: tidy up.
        patched.setattr(LinuxFiles, "unlink", crash)
        with pytest.raises(Crash):
            local.register(proxied("api1", config={"a": 2}), from_file=False)
    directory.close()

    memory = opened(tmp_path).load()
    (definition,) = memory.definitions
    assert definition.proxy is not None
    assert definition.proxy.config == {"a": 1}
    assert memory.remembered["api1-proxy"].token == before.token
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("folder", ["services", "proxies"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b"[]", b"\xff", b'{"Proxy": null}'])
def test_a_corrupt_file_is_set_aside_and_the_rest_is_served(
    tmp_path: Path, folder: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Unlike MP-SNAP-009, where the agent does not start."""
    kept(tmp_path, proxied("good"))
    broken = tmp_path / folder / ("0" * 32)
    broken.write_bytes(content)
    memory = opened(tmp_path).load()
    assert [definition.id for definition in memory.definitions] == ["good"]
    assert str(broken) in caplog.text
    assert not broken.exists()
    (aside,) = (tmp_path / folder).glob("*.corrupt-*")
    assert aside.read_bytes() == content


def test_a_leftover_of_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    """Unlike quirk 17."""
    kept(tmp_path, proxied("good"))
    leftover = tmp_path / "proxies" / "abc-123.tmp"
    leftover.write_text("{")
    assert len(opened(tmp_path).load().definitions) == 1
    assert not leftover.exists()


def test_the_node_keeps_its_id(tmp_path: Path) -> None:
    directory = opened(tmp_path)
    first = directory.node_id()
    assert directory.node_id() == first
    (tmp_path / "node-id").write_text("garbage")
    assert directory.node_id() != first
    assert list(tmp_path.glob("node-id.corrupt-*"))


def test_two_agents_do_not_share_a_data_directory(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(PersistenceError, match="in use by another agent"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_a_data_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PersistenceError, match=str(tmp_path / "file")):
        opened(tmp_path / "file" / "data")
