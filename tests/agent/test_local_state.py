"""The rules of the local state: what stays, what goes along, who hears of it."""

from __future__ import annotations

import pytest

from reference.agent.ports import PortsExhausted
from reference.agent.proxies import ProxyError
from reference.agent.services import KeeperError, LocalState, NotAllowed, Registration, Remembered
from reference.catalog.watch import Watch
from reference.config.model import ManagedProxy, ProxyDefaults
from tests.agent.defining import BUILTIN, Notes, managed, proxied, service, settings, state


def test_a_managed_proxy_has_a_record_of_its_own() -> None:
    """MP-CAT-001, MP-CAT-002, MP-CAT-003."""
    local = state()
    local.register(
        service("web1", name="web", proxy=ManagedProxy(), tags=("t",), meta={"k": "v"}), from_file=True
    )
    record = managed(local, "web1-proxy").service
    assert (record.id, record.name, record.kind) == ("web1-proxy", "web-proxy", "connect-proxy")
    assert (record.address, record.tags, record.meta) == ("", (), {})
    assert record.destination is not None
    assert (record.destination.service_name, record.destination.local_port) == ("web", 80)


def test_token_and_port_stay_when_a_definition_changes() -> None:
    """MP-TOK-002, MP-PORT-008."""
    local = state()
    local.register(proxied(config={"a": 1}), from_file=True)
    before = managed(local)
    local.register(proxied(config={"a": 2}, command=("/bin/other",)), from_file=True)
    after = managed(local)
    assert (after.token, after.service.port) == (before.token, before.service.port)
    assert after.proxy.command == ("/bin/other",)


def test_token_and_port_of_an_earlier_run_are_taken_up() -> None:
    """MP-LIFE-008, MP-LIFE-010; also outside the range of today."""
    local = state(remembered={"web-proxy": Remembered(token="t", port=31000)})
    local.register(proxied(), from_file=True)
    assert (managed(local).token, managed(local).service.port) == ("t", 31000)


def test_ports_of_an_earlier_run_are_kept_for_their_owners() -> None:
    local = state(min_port=24400, max_port=24401, remembered={"b-proxy": Remembered(token="t", port=24400)})
    local.register(proxied("a"), from_file=True)
    local.register(proxied("b"), from_file=True)
    assert managed(local, "a-proxy").service.port == 24401
    assert managed(local, "b-proxy").service.port == 24400


def test_a_new_life_brings_a_new_token() -> None:
    """MP-TOK-002, MP-LIFE-017: deregistration ends it, also for a service of a file."""
    local = state(remembered={"web-proxy": Remembered(token="t", port=31000)})
    local.register(proxied(), from_file=True)
    local.settle()
    local.deregister("web")
    local.reconcile([proxied()])
    assert managed(local).token != "t"


def test_each_proxy_has_its_own_token() -> None:
    """MP-TOK-001."""
    local = state()
    local.register(proxied("a"), from_file=True)
    local.register(proxied("b"), from_file=True)
    tokens = {managed(local, "a-proxy").token, managed(local, "b-proxy").token}
    assert len(tokens) == 2
    assert {len(token) for token in tokens} == {36}


def test_tokens_are_not_shown() -> None:
    local = state()
    local.register(service(proxy=ManagedProxy(), token="service-token"), from_file=True)
    shown = repr([managed(local), local.registration("web"), local.grant(managed(local).token)])
    assert managed(local).token not in shown
    assert "service-token" not in shown


def test_a_changed_bind_port_moves_the_record() -> None:
    """The original leaves the record behind (quirk 5)."""
    local = state()
    local.register(proxied(), from_file=True)
    local.register(proxied(config={"bind_port": 24460}), from_file=True)
    assert managed(local).service.port == 24460
    assert local.effective_config(managed(local))["bind_port"] == 24460


@pytest.mark.parametrize("given", [24450, "24450", 24450.0])
def test_bind_port_is_a_number_however_it_is_written(given: object) -> None:
    """MP-PORT-002."""
    local = state()
    local.register(proxied(config={"bind_port": given}), from_file=True)
    assert managed(local).service.port == 24450
    assert local.effective_config(managed(local))["bind_port"] == 24450


@pytest.mark.parametrize("given", ["abc", 70000, -1, 1.5, True])
def test_what_is_no_port_is_refused(given: object) -> None:
    """MP-PORT-003."""
    local = state()
    with pytest.raises(ProxyError):
        local.register(proxied(config={"bind_port": given}), from_file=True)
    assert local.proxy("web-proxy") is None
    assert local.service("web") is not None


def test_defaults_are_under_the_definition() -> None:
    """MP-CFG-019, MP-CFG-020, MP-PORT-011, MP-INT-001."""
    defaults = ProxyDefaults(
        daemon_command=("/bin/default",),
        config={"foo": "default", "dflt": 1, "bind_address": "127.0.0.3"},
    )
    local = state(defaults=defaults)
    local.register(proxied("plain"), from_file=True)
    local.register(proxied("own", command=("/bin/own",), config={"foo": "mine"}), from_file=True)

    plain, own = managed(local, "plain-proxy"), managed(local, "own-proxy")
    assert plain.proxy.command == ("/bin/default",)
    assert own.proxy.command == ("/bin/own",)
    assert local.effective_config(own) == {
        "foo": "mine",
        "dflt": 1,
        "bind_address": "127.0.0.3",
        "bind_port": own.service.port,
        "local_service_address": "127.0.0.1:80",
    }
    assert plain.service.address == ""


def test_the_built_in_proxy_is_the_default() -> None:
    """MP-CFG-001, MP-CFG-022."""
    local = state()
    local.register(proxied(), from_file=True)
    assert managed(local).proxy.command == BUILTIN
    assert managed(local).proxy.exec_mode == "daemon"


def test_observers_hear_of_everything_in_order() -> None:
    local, notes = state(), Notes()
    local.register(proxied(), from_file=True)
    local.attach(notes)
    local.deregister("web")
    assert notes.heard == [
        ("service put", "web"),
        ("proxy put", "web-proxy"),
        ("proxy gone", "web-proxy"),
        ("service gone", "web"),
    ]


def test_a_file_without_proxy_ends_the_proxy() -> None:
    local = state()
    local.register(proxied(), from_file=True)
    local.register(service(), from_file=True)
    assert local.proxy("web-proxy") is None


def test_reload_follows_files_and_leaves_the_rest() -> None:
    """MP-LIFE-012, MP-SNAP-008; no record of a removed service stays (quirk 4)."""
    local = state()
    for name in ("kept", "gone"):
        local.register(proxied(name), from_file=True)
    local.register(proxied("api"), from_file=False)
    kept = managed(local, "kept-proxy")
    local.reconcile([proxied("kept"), proxied("new")])
    assert {record.id for record in local.services()} == {
        *("kept", "kept-proxy", "new", "new-proxy", "api", "api-proxy"),
    }
    assert managed(local, "kept-proxy") == kept


def test_a_definition_that_fails_at_reload_changes_nothing() -> None:
    local = state(min_port=24400, max_port=24401)
    for name in ("a", "gone"):
        local.register(proxied(name), from_file=True)
    before = local.services(), managed(local, "a-proxy")
    with pytest.raises(PortsExhausted):
        local.reconcile([proxied("a", config={"changed": True}), proxied("b"), proxied("c")])
    assert (local.services(), managed(local, "a-proxy")) == before


def test_a_reload_uses_the_ports_that_it_found_free() -> None:
    """Looked for once: what is free now may be taken a moment later."""
    asked: list[int] = []

    def is_free(address: str, port: int) -> bool:
        asked.append(port)
        return True

    local = LocalState(settings(), watch=Watch(), is_free=is_free)
    local.reconcile([proxied("a"), proxied("b")])
    assert {managed(local, f"{name}-proxy").service.port for name in "ab"} == set(asked)


def test_a_managed_proxy_is_no_service_of_its_own() -> None:
    """MP-API-004."""
    local = state()
    local.register(proxied(), from_file=True)
    with pytest.raises(NotAllowed):
        local.deregister("web-proxy")
    with pytest.raises(NotAllowed):
        local.register(service("web-proxy"), from_file=False)
    assert not local.deregister("unknown")


def test_a_taken_id_leaves_no_room_for_a_proxy() -> None:
    local = state()
    local.register(service("web-proxy"), from_file=True)
    with pytest.raises(ProxyError, match="web-proxy is taken"):
        local.register(proxied("web"), from_file=True)


class FullDisk(Notes):
    """A keeper that cannot keep anything."""

    def service_put(self, registration: Registration) -> None:
        raise KeeperError("no space left")


def test_what_cannot_be_kept_does_not_happen() -> None:
    local, notes = state(), Notes()
    local.attach(FullDisk(), keeper=True)
    local.attach(notes)
    with pytest.raises(KeeperError):
        local.register(proxied(), from_file=False)
    assert local.services() == ()
    assert notes.heard == []
