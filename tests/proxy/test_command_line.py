"""The command line and the environment: the original's texts and exit codes, and which source wins."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reference.proxy import flags as command_line
from reference.proxy import manual, settings
from reference.proxy.flags import Flags, SettingsError
from tests.waiting import DEADLINE

BARE = {name: value for name, value in os.environ.items() if not name.startswith(("CONSUL_", "CONNECT_"))}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "proxyproof", "connect", *arguments]
    return subprocess.run(
        command, env={**BARE, **environment}, capture_output=True, text=True, timeout=DEADLINE
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["proxy"],
            "==> Error preparing configuration: "
            "-service or -proxy-id must be specified so that proxy can configure itself.",
        ),
        (["proxy", "extra"], "==> Should have no non-flag arguments."),
        (["proxy", "-proxy-id", "x", "--", "y"], "==> Should have no non-flag arguments."),
        (
            ["proxy", "-log-level", "bogus", "-proxy-id", "x"],
            "==> Invalid log level: BOGUS. Valid log levels are: [TRACE DEBUG INFO WARN ERR]",
        ),
        (["proxy", "-nope"], "flag provided but not defined: -nope"),
        (["proxy", "--nope=1"], "flag provided but not defined: -nope"),
        (["proxy", "-proxy-id"], "flag needs an argument: -proxy-id"),
        (["proxy", "-=x"], "bad flag syntax: -=x"),
        (
            ["proxy", "-http-addr=bad://x", "-proxy-id=x"],
            "==> Error connecting to Consul agent: Unknown protocol scheme: bad",
        ),
        ([], "Usage: proxyproof connect <subcommand>"),
        (["nope"], "Usage: proxyproof connect <subcommand>"),
    ],
)
def test_what_is_wrong_is_said_and_ends_with_1(arguments: list[str], message: str) -> None:
    ended = run(*arguments)
    assert ended.returncode == 1
    assert ended.stderr.startswith(message)
    assert "Traceback" not in ended.stderr


def test_help_ends_with_0() -> None:
    ended = run("proxy", "-h")
    assert (ended.returncode, ended.stderr) == (0, command_line.USAGE + "\n")


def test_a_missing_authority_file_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "ca.pem")
    ended = run("proxy", "-proxy-id=x", CONSUL_HTTP_ADDR="https://127.0.0.1:1", CONSUL_CACERT=missing)
    assert ended.returncode == 1
    assert re.fullmatch(
        rf"==> Error connecting to Consul agent: cannot use the TLS files {missing}: .*\n", ended.stderr
    )


def test_flags_may_have_one_dash_or_two_and_an_equals_sign_or_not() -> None:
    arguments = ["-proxy-id", "a", "--token=b=c", "-log-level=debug", "--http-addr", "x:1"]
    flags = command_line.read(arguments, manual.upstream)
    assert flags.values == {"proxy-id": "a", "token": "b=c", "log-level": "debug", "http-addr": "x:1"}
    assert settings.log_level(flags) == "DEBUG"


@pytest.mark.parametrize(
    ("flags", "environ", "token"),
    [
        ({"token": "flag"}, {"CONNECT_PROXY_TOKEN": "proxy", "CONSUL_HTTP_TOKEN": "http"}, "flag"),
        ({}, {"CONNECT_PROXY_TOKEN": "proxy", "CONSUL_HTTP_TOKEN": "http"}, "proxy"),
        ({}, {"CONNECT_PROXY_TOKEN": "", "CONSUL_HTTP_TOKEN": "http"}, "http"),
        ({}, {}, None),
    ],
)
def test_which_token_wins(flags: dict[str, str], environ: dict[str, str], token: str | None) -> None:
    agent = settings.agent(Flags(values=flags), environ)
    assert dict(agent.headers).get("X-Consul-Token") == token
    assert token is None or token not in repr(agent)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", "http://127.0.0.1:8500"),
        ("10.0.0.1:80", "http://10.0.0.1:80"),
        ("http://agent:80", "http://agent:80"),
        ("http://[::1]:80/", "http://[::1]:80"),
        ("https://agent:443", "https://agent:443"),
        ("unix:///run/agent.sock", "unix:///run/agent.sock"),
    ],
)
def test_addresses_of_the_agent(address: str, shown: str) -> None:
    assert str(settings.agent(Flags(), {"CONSUL_HTTP_ADDR": address})) == shown


def test_ssl_by_environment() -> None:
    environ = {"CONSUL_HTTP_ADDR": "agent:1", "CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_SSL_VERIFY": "false"}
    assert str(settings.agent(Flags(), environ)) == "https://agent:1"
    with pytest.raises(SettingsError, match="CONSUL_HTTP_SSL is 'maybe'"):
        settings.agent(Flags(), {**environ, "CONSUL_HTTP_SSL": "maybe"})


@pytest.mark.parametrize("address", ["agent", "http://agent", "https://agent:x", "http://agent:1/path"])
def test_an_address_without_a_port_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="is not an address"):
        settings.agent(Flags(), {"CONSUL_HTTP_ADDR": address})


def test_a_token_cannot_smuggle_headers() -> None:
    with pytest.raises(SettingsError, match="characters that no token has") as caught:
        settings.agent(Flags(values={"token": "a\r\nX-Evil: 1"}), {})
    assert "Evil" not in str(caught.value)
