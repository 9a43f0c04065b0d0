"""``proxyproof proxies``: the managed proxies of an agent, for whoever operates it.

Most of it asks the agent (``/v1/agent/connect/proxies``). ``logs`` and ``stop`` also do without one, given its data
directory.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from reference.cli import api
from reference.cli.flags import Flag, HelpRequested, Parsed, UsageError, boolean, describe, integer, parse
from reference.cli.tail import Follower, last_lines
from reference.config.errors import ConfigError
from reference.supervisor.logs import log_paths

DONE, CANNOT = 0, 1
_PATH = "/v1/agent/connect/proxies"
_OK = 200
#: How often a log is looked at while it is followed, and how long proxies may take to end without an agent (s).
_FOLLOW_SECONDS, _END_SECONDS = 0.2, 60.0

_DATA_DIR = Flag(name="data-dir", help="The data directory of an agent that is not running.")
_ALL = Flag(name="all", help="Every managed proxy.", read=boolean)
_OUTDATED = Flag(name="outdated", help="Every one that an older release of the agent started.", read=boolean)
_JSON = Flag(name="json", help="Print what the agent answered.", read=boolean)
_LEAVE = Flag(name="leave", help="When all are stopped have the agent end, too.", read=boolean)
_FOLLOW = Flag(name="f", help="Go on with what is written from now on.", read=boolean)
_LINES = Flag(name="n", help="How many of the last lines to show; 10 if not given.", read=integer)
_WAIT = Flag(name="wait", help="How long each may take, such as 1m; 30s if not given.")
_STREAM = Flag(name="stream", help="stdout or stderr; both if not given.")


def main(arguments: Sequence[str]) -> int:
    """Run one sub-command. Raises UsageError and ConfigError."""
    name, *rest = arguments or ("",)
    if name in ("-h", "-help", "--help"):
        raise HelpRequested
    if name not in _COMMANDS:
        raise UsageError(f"proxies needs one of {', '.join(_COMMANDS)}" + (f", not {name}" if name else ""))
    command = _COMMANDS[name]
    try:
        parsed = _anywhere(rest, (*command.flags, *api.FLAGS))
    except HelpRequested:
        print(command.help(name))
        return DONE
    return command.run(parsed)


def _list(parsed: Parsed) -> int:
    if parsed.rest:
        raise UsageError(f"proxies list takes flags only, not {parsed.rest[0]}")
    views = _views(parsed)
    if parsed.last("json", default=False):
        print(json.dumps(views, indent=2))
        return DONE
    rows: list[tuple[str, ...]] = [("PROXY", "STATE", "PID", "READY", "RESTARTS", "SINCE", "REASON")]
    rows += [_row(view) for view in views]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    return DONE


def _row(view: Mapping[str, Any]) -> tuple[str, ...]:
    notes = {"crash loop": view["CrashLoop"], "outdated": view["Outdated"]}
    shown = ", ".join(note for note, applies in notes.items() if applies)
    state = f"{view['State']} ({shown})" if shown else str(view["State"])
    since = datetime.now(UTC) - msgspec.convert(view["Since"], datetime)
    reason = str(view["Reason"])
    return (
        _shown(str(view["ProxyID"])),
        state,
        str(view.get("PID", "-")),
        "yes" if view["Ready"] else "no",
        str(view["Restarts"]),
        _age(since.total_seconds()),
        # A reason may quote what a program said.
        _shown(" ".join(reason.split())),
    )


def _shown(text: str) -> str:
    """On one line, and nothing in it that a terminal would obey: ids and programs' words are other people's."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def _restart(parsed: Parsed) -> int:
    """One after the other: the next only when the last is ready, none after one that is not."""
    chosen = _outdated(parsed) if parsed.last("outdated", default=False) else _chosen(parsed)
    for number, proxy_id in enumerate(chosen):
        began = time.monotonic()
        code, answer = _put(parsed, f"{_PATH}/restart/{_target(parsed, proxy_id)}")
        if code != _OK:
            _complain(answer)
            untouched = chosen[number + 1 :]
            if untouched:
                _complain(f"not restarted: {', '.join(untouched)}")
            return CANNOT
        done = json.loads(answer)
        took = time.monotonic() - began
        old = "none" if done["OldPID"] is None else done["OldPID"]
        print(
            f"{_shown(proxy_id)}: {old} -> {done['NewPID']} (ready by {done['ReadyBy']}, {took:.1f}s)",
            flush=True,
        )
    return DONE


def _stop(parsed: Parsed) -> int:
    data_dir = parsed.last("data-dir")
    if data_dir is not None:
        if parsed.last("leave", default=False):
            raise UsageError("-leave is for an agent that runs, and -data-dir for one that does not")
        return _stop_without_agent(parsed, Path(data_dir))
    failed = False
    for proxy_id in _chosen(parsed):
        code, answer = _put(parsed, f"{_PATH}/stop/{_target(parsed, proxy_id)}")
        if code != _OK:
            _complain(answer)
            failed = True
            continue
        _say_stopped(proxy_id, json.loads(answer)["OldPID"])
    if parsed.last("leave", default=False) and not failed:
        code, answer = _put(parsed, "/v1/agent/leave")
        if code != _OK:
            _complain(answer)
            return CANNOT
        print("the agent ends")
    return CANNOT if failed else DONE


def _stop_without_agent(parsed: Parsed, data_dir: Path) -> int:
    from reference.agent import left_behind

    everything = _all_or_some(parsed)
    failed = False
    for ended in left_behind.end(
        data_dir.absolute(), None if everything else parsed.rest, seconds=_END_SECONDS
    ):
        if ended.problem:
            _complain(f"{ended.proxy_id} is still there (process {ended.pid}): {ended.problem}")
            failed = True
        else:
            _say_stopped(ended.proxy_id, ended.pid)
    return CANNOT if failed else DONE


def _say_stopped(proxy_id: str, pid: int | None) -> None:
    how = "(was not running)" if pid is None else f"(process {pid})"
    print(f"{_shown(proxy_id)}: stopped {how}", flush=True)


def _logs(parsed: Parsed) -> int:
    if len(parsed.rest) != 1:
        raise UsageError("proxies logs needs the id of one proxy")
    lines = parsed.last("n", default=10)
    if lines < 0:
        raise UsageError(f"-n must not be negative: {lines}")
    paths = _log_paths(parsed, parsed.rest[0])
    followers = [Follower(path) for path in paths]
    try:
        for path in paths:
            _write(last_lines(path, lines))
        while parsed.last("f", default=False):
            for follower in followers:
                for piece in follower.added():
                    _write(piece)
            time.sleep(_FOLLOW_SECONDS)
    except KeyboardInterrupt:
        pass  # the usual end of following
    except BrokenPipeError:
        # Whoever read it has seen enough; nothing may be flushed there any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        for follower in followers:
            follower.close()
    return DONE


def _log_paths(parsed: Parsed, proxy_id: str) -> tuple[Path, ...]:
    stream = parsed.last("stream", "")
    if stream not in ("", "stdout", "stderr"):
        raise UsageError(f"-stream is stdout or stderr, not {stream}")
    data_dir = parsed.last("data-dir")
    if data_dir is not None:
        stdout, stderr = log_paths(Path(data_dir), proxy_id)
        if not stdout.exists():
            raise ConfigError(str(stdout), "there is no such log", "Correct the id or -data-dir")
    else:
        view = next((view for view in _views(parsed) if view["ProxyID"] == proxy_id), None)
        if view is None:
            raise ConfigError("the agent", f"no managed proxy with the ID {proxy_id}", "See proxies list")
        if "Logs" not in view:
            remedy = "Give the agent a -data-dir"
            raise ConfigError("the agent", "without a data directory proxies have no logs", remedy)
        stdout, stderr = Path(view["Logs"]["Stdout"]), Path(view["Logs"]["Stderr"])
    return {"stdout": (stdout,), "stderr": (stderr,)}.get(stream, (stdout, stderr))


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _chosen(parsed: Parsed) -> tuple[str, ...]:
    """The proxies that the command line names, in its order, or all by id."""
    if _all_or_some(parsed):
        return tuple(view["ProxyID"] for view in _views(parsed))
    return parsed.rest


def _outdated(parsed: Parsed) -> tuple[str, ...]:
    """The proxies that run the program of another release, by id."""
    if parsed.last("all", default=False) or parsed.rest:
        raise UsageError("-outdated chooses the proxies itself: neither name any nor give -all")
    return tuple(view["ProxyID"] for view in _views(parsed) if view["Outdated"])


def _all_or_some(parsed: Parsed) -> bool:
    """Whether all are meant. Raises UsageError when neither all nor some are, or both."""
    everything = bool(parsed.last("all", default=False))
    if everything == bool(parsed.rest):
        raise UsageError("name the proxies, or give -all")
    return everything


def _views(parsed: Parsed) -> list[Any]:
    reply = api.ask(parsed, "GET", _PATH)
    if reply.status != _OK:
        text = reply.body.decode(errors="replace")
        problem = f"it answered {reply.status} ({text})" if text else f"it answered {reply.status}"
        raise ConfigError("the agent", problem, "It must be one of proxyproof; with ACLs a token is needed")
    found: list[Any] = json.loads(reply.body)
    return found


def _put(parsed: Parsed, path: str) -> tuple[int, str]:
    reply = api.ask(parsed, "PUT", path)
    return reply.status, reply.body.decode(errors="replace")


def _target(parsed: Parsed, proxy_id: str) -> str:
    wait = parsed.last("wait", "")
    return quote(proxy_id, safe="") + (f"?wait={quote(wait)}" if wait else "")


def _complain(text: str) -> None:
    print(f"Error: {_shown(' '.join(text.split()))}", file=sys.stderr)


def _anywhere(arguments: Sequence[str], table: Sequence[Flag]) -> Parsed:
    """Flags before, between and after the ids."""
    given: list[tuple[str, Any]] = []
    words: list[str] = []
    rest = list(arguments)
    while True:
        parsed = parse(rest, table)
        given += parsed.given
        if not parsed.rest:
            return Parsed(given=tuple(given), rest=tuple(words))
        words.append(parsed.rest[0])
        rest = list(parsed.rest[1:])


class _Command(msgspec.Struct, frozen=True, kw_only=True):
    run: Callable[[Parsed], int]
    arguments: str
    synopsis: str
    flags: tuple[Flag, ...]

    def help(self, name: str) -> str:
        usage = f"Usage: proxyproof proxies {name} [options]{self.arguments}"
        return f"{usage}\n\n{self.synopsis}\n\n{describe((*self.flags, *api.FLAGS))}"


_COMMANDS = {
    "list": _Command(
        run=_list,
        arguments="",
        synopsis="Shows every managed proxy of an agent: its state, process, readiness and why it is so.",
        flags=(_JSON,),
    ),
    "restart": _Command(
        run=_restart,
        arguments=" ID ... | -all | -outdated",
        synopsis=(
            "Restarts managed proxies one after the other, each when the one before it is ready, and prints the\n"
            "old and the new process. Stops at the first that does not become ready."
        ),
        flags=(_ALL, _OUTDATED, _WAIT),
    ),
    "logs": _Command(
        run=_logs,
        arguments=" ID",
        synopsis="Shows the end of what a managed proxy wrote, also while it is put aside.",
        flags=(_FOLLOW, _LINES, _STREAM, _DATA_DIR),
    ),
    "stop": _Command(
        run=_stop,
        arguments=" ID ... | -all",
        synopsis=(
            "Stops managed proxies and waits for their end. The agent does not start them again by itself; a\n"
            "restart of the proxy or of the agent does. With -data-dir it ends what an agent left running."
        ),
        flags=(_ALL, _WAIT, _LEAVE, _DATA_DIR),
    ),
}

_SYNOPSES = "\n".join(
    f"    {name:<9}{command.synopsis.partition('.')[0].replace(chr(10), ' ')}"
    for name, command in _COMMANDS.items()
)
HELP = f"""Usage: proxyproof proxies <command> [options]

The commands are:
{_SYNOPSES}

Each has a -help."""
