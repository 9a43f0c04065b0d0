"""The agent's own tokens: from its configuration and over HTTP, and which of them counts when it starts again."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from reference.agent.agent_tokens import NAMES, TokenStore
from reference.catalog.documents import StorageError
from reference.config.model import AgentTokens

CONFIGURED = AgentTokens(default="d", agent="a")


def test_those_of_http_win_and_last_where_they_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "acl-tokens.json"
    store = TokenStore(CONFIGURED, path=path)
    store.update("default", "new")
    assert store.current == AgentTokens(default="new", agent="a")
    assert path.stat().st_mode & 0o777 == 0o600
    again = TokenStore(CONFIGURED, path=path)
    assert again.current == AgentTokens(default="new", agent="a")
    again.configure(AgentTokens(default="reloaded", agent="reloaded"))
    assert again.current == AgentTokens(default="new", agent="reloaded")


def test_an_emptied_token_is_the_configured_one_again_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "acl-tokens.json"
    store = TokenStore(CONFIGURED, path=path)
    store.update("default", "new")
    store.update("default", "")
    assert store.current.default == ""
    assert TokenStore(CONFIGURED, path=path).current.default == "d"


def test_where_they_are_not_kept_a_reload_brings_the_configured_ones_back() -> None:
    store = TokenStore(CONFIGURED, path=None)
    store.update("agent", "new")
    assert store.current.agent == "new"
    store.configure(CONFIGURED)
    assert store.current.agent == "a"


def test_a_damaged_file_is_named_and_does_not_stop_the_agent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "acl-tokens.json"
    path.write_text('{"default": "very-secret"')
    with caplog.at_level(logging.WARNING):
        assert TokenStore(CONFIGURED, path=path).current == CONFIGURED
    assert str(path) in caplog.text
    assert "very-secret" not in caplog.text


def test_what_cannot_be_kept_does_not_count(tmp_path: Path) -> None:
    store = TokenStore(CONFIGURED, path=tmp_path / "missing" / "acl-tokens.json")
    with pytest.raises(StorageError, match="Failed to persist tokens"):
        store.update("default", "new")
    assert store.current == CONFIGURED


def test_the_names_of_both_families_mean_the_same() -> None:
    assert set(NAMES.values()) == {"default", "agent", "agent_master", "replication"}
    assert NAMES["acl_token"] == "default"
    assert NAMES["acl_agent_master_token"] == "agent_master"
