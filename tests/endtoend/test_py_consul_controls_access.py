"""The client that Python programs use for Consul, unmodified, makes tokens and policies, and is held to them."""

from __future__ import annotations

import uuid
from pathlib import Path

import consul
import pytest

from tests.agents import running_agent
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(120)


def test_tokens_and_policies(tmp_path: Path) -> None:
    master = str(uuid.uuid4())
    access = {"enabled": True, "default_policy": "deny", "tokens": {"master": master}}
    with running_agent(tmp_path, token=master, acl=access) as running:
        port = running.port
        manager = consul.Consul(host="127.0.0.1", port=port, token=master)
        rules = {
            "service": {"web": {"policy": "write", "intentions": "read"}},
            "node_prefix": {"": {"policy": "read"}},
        }
        policy = manager.acl.policy.create("web", description="for web", rules=rules)
        assert manager.acl.policy.read(policy["ID"])["Name"] == "web"
        assert {each["Name"] for each in manager.acl.policy.list()} == {"global-management", "web"}
        token = manager.acl.token.create(policies_name=["web"], description="of web")
        assert [each["Name"] for each in token["Policies"]] == ["web"]

        web = consul.Consul(host="127.0.0.1", port=port, token=token["SecretID"])
        assert web.acl.token.read_self()["AccessorID"] == token["AccessorID"]
        assert web.agent.service.register("web", port=80)
        eventually(lambda: web.catalog.service("web")[1], "the service in the catalog")
        assert set(web.catalog.services()[1]) == {"web"}
        for forbidden in (
            lambda: web.agent.service.register("db", port=81),
            lambda: web.acl.token.list(),
            lambda: web.acl.policy.list(),
        ):
            with pytest.raises(consul.ACLPermissionDenied):
                forbidden()

        clone = manager.acl.token.clone(token["AccessorID"], description="another")
        assert clone["SecretID"] != token["SecretID"]
        assert {token["AccessorID"], clone["AccessorID"]} <= {
            each["AccessorID"] for each in manager.acl.token.list()
        }
        manager.acl.policy.update(policy["ID"], "web", rules={"service": {"web": {"policy": "read"}}})
        with pytest.raises(consul.ACLPermissionDenied):
            web.agent.service.register("web", port=82)
        assert manager.acl.token.delete(token["AccessorID"])
        with pytest.raises(consul.ACLPermissionDenied):
            web.catalog.services()
        assert manager.acl.policy.delete(policy["ID"])
        for client in (manager, web):
            client.http.close()
