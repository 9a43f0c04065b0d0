"""The command line of ``proxyproof bench``. Exit codes: 0 measured, 1 a proxy did not work, 2 the command was wrong."""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from conformance.bench import kernel_tls, plot, result, table
from conformance.bench.load import LoadError
from conformance.bench.peers import OURS, Peer, PeerError, found, open_route, scene
from conformance.bench.result import Measurement, Results
from conformance.bench.rows import PACED_GBIT, ROWS, Row, Run, applies
from conformance.bench.stage import Stage, StageError

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


class UsageError(Exception):
    """The command cannot be carried out as given; the message is one sentence with its remedy."""


def main(arguments: Sequence[str]) -> int:
    """Measure, show and write; the exit code."""
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else USAGE
    try:
        rows = _rows(options.only)
        peers = _peers(options.peers, found(binary=options.binary, ghostunnel=options.ghostunnel))
        folder = _folder(options.report)
    except (UsageError, PeerError) as problem:
        return _complain(str(problem), USAGE)
    results = Results()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="proxyproof-bench-") as work, Stage(Path(work)) as stage:
            _measure(stage, rows, peers, results, options)
    except (StageError, LoadError) as problem:
        return _complain(str(problem), FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted; nothing was written", INTERRUPTED)
    about = _about(options, peers)
    result.write(results, folder / "bench.json", ours=OURS, about=about)
    plot.write(results, folder / "bench.svg", ours=OURS)
    console = Console(highlight=False)
    console.print(_machine(about), soft_wrap=True)
    table.show(console, results, ours=OURS)
    console.print(f"written to {folder}/bench.json and {folder}/bench.svg", soft_wrap=True)
    return DONE


def _complain(message: str, code: int) -> int:
    print(f"proxyproof bench: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="proxyproof bench",
        description="Measures the built-in proxy and others, two hops of mutual TLS each, in turn and on loopback.",
        epilog=f"Rows: {', '.join(ROWS)}.",
        allow_abbrev=False,
    )
    parser.add_argument("--only", type=_names, metavar="ROW,...", help="rows, or families of rows such as up")
    parser.add_argument(
        "--peers", type=_names, metavar="PEER,...", help="whom to measure; by default all there are"
    )
    parser.add_argument("--binary", metavar="FILE", help="a Consul binary with managed proxies: the original")
    parser.add_argument("--ghostunnel", metavar="FILE", help="a ghostunnel binary")
    parser.add_argument(
        "--seconds", type=_positive, default=3.0, metavar="S", help="length of a measurement (%(default)g)"
    )
    parser.add_argument("--rounds", type=_count, default=3, metavar="N", help="how often (%(default)s)")
    parser.add_argument(
        "--idle", type=_count, default=8000, metavar="N", help="connections of row idle (%(default)s)"
    )
    parser.add_argument(
        "--churn", type=_count, default=10000, metavar="N", help="connections of row churn (%(default)s)"
    )
    parser.add_argument(
        "--report", type=Path, default=Path("proxyproof-report"), metavar="DIR", help="(%(default)s)"
    )
    return parser


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 600.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds up to 600")
    return value


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _rows(wanted: list[str] | None) -> list[Row]:
    if wanted is None:
        return list(ROWS.values())
    chosen: dict[str, Row] = {}
    for name in wanted:
        family = {row.name: row for row in ROWS.values() if row.name.startswith(f"{name}-")}
        matching = {name: ROWS[name]} if name in ROWS else family
        if not matching:
            raise UsageError(f"--only {name}: no row is called so; the rows are {', '.join(ROWS)}")
        chosen |= matching
    if not chosen:
        raise UsageError("--only names no row")
    return [row for row in ROWS.values() if row.name in chosen]


def _peers(wanted: list[str] | None, there: Mapping[str, Peer]) -> list[Peer]:
    if wanted is None:
        return list(there.values())
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UsageError(f"--peers {missing[0]}: it is not on this machine; there are {', '.join(there)}")
    if not wanted:
        raise UsageError("--peers names nobody")
    return [peer for peer in there.values() if peer.name in wanted]


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
        (path / "bench.json").touch()
    except OSError as problem:
        raise UsageError(f"--report {path}: {problem.strerror}; name a folder that can be written") from None
    return path


def _measure(
    stage: Stage, rows: Sequence[Row], peers: Sequence[Peer], results: Results, options: argparse.Namespace
) -> None:
    """Set all peers up, then measure them in turn, every other round in the opposite order."""
    progress = Console(stderr=True, highlight=False)
    common = scene(stage)
    ports = {peer.name: open_route(peer, common) for peer in peers}
    for row in rows:
        for number in range(min(options.rounds, row.rounds or options.rounds)):
            for peer in peers if number % 2 == 0 else list(reversed(peers)):
                if not applies(row, peer.name):
                    continue
                run = Run(
                    stage=stage,
                    peer=peer.name,
                    port=ports[peer.name],
                    application=common.application,
                    seconds=options.seconds,
                    idle=options.idle,
                    churn=options.churn,
                )
                try:
                    values = row.measure(run)
                    stage.check(peer.name)
                except (OSError, LoadError) as problem:
                    raise LoadError(f"{row.name} through {peer.name}: {problem}") from None
                told = []
                for figure, value in zip(row.figures, values, strict=True):
                    results.add(Measurement(figure=figure, peer=peer.name, round=number, value=value))
                    told.append(f"{table.number(value)} {figure.unit}")
                progress.print(
                    f"[dim]{row.name} {number + 1} {peer.name}: {', '.join(told)}[/]", soft_wrap=True
                )


def _about(options: argparse.Namespace, peers: Sequence[Peer]) -> dict[str, object]:
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "kernel_tls": kernel_tls.available(),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "idle_connections": options.idle,
        "churn_connections": options.churn,
        "paced_gbit_per_second": PACED_GBIT,
        "versions": {peer.name: _version(peer) for peer in peers if peer.version},
    }


def _machine(about: Mapping[str, object]) -> str:
    """The line above the tables."""
    kernel_has_tls = "available, and not used" if about["kernel_tls"] else "not available"
    return (
        f"{about['cores']} cores, Linux {about['kernel']}, Python {about['python']}, {about['openssl']}; "
        f"kernel TLS is {kernel_has_tls}"
    )


def _version(peer: Peer) -> str:
    """The first line that tells a version."""
    try:
        said = subprocess.run(list(peer.version), capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = (line.strip() for line in (said.stdout + said.stderr).splitlines())
    return next((line for line in lines if re.search(r"\d\.\d", line)), "unknown")
