"""A tiny implementation with a tiny register and checks: enough to run the whole suite in seconds.

The agent answers ``/v1/agent/self`` and starts a sleeping process as the proxy of each definition, which it leaves
running when it ends. It is given to the suite as source on the command line, so that any user can execute it.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

from conformance.instruments import processes
from conformance.instruments.processes import Process
from conformance.report.model import Report, decode
from conformance.requirements import Feature

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The token of every proxy. The command line, which a report shows, has it backwards.
SECRET = "3f1c9a52-not-for-the-report"
DEADLINE_SECONDS = 180.0

_AGENT = f"""
import http.server, json, os, signal, subprocess, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
flags = sys.argv[1:]
config = json.load(open(flags[flags.index("-config-file") + 1]))
folder = flags[flags.index("-config-dir") + 1]
for name in sorted(os.listdir(folder)):
    service = json.load(open(os.path.join(folder, name)))["service"]
    given = {{"CONNECT_PROXY_ID": service["name"] + "-proxy", "CONNECT_PROXY_TOKEN": {SECRET[::-1]!r}[::-1]}}
    subprocess.Popen(["sleep", "600"], env={{**os.environ, **given}}, start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        answers = {{"/v1/agent/self": {{"Config": {{"Version": "0.0.7"}}}}, "/v1/agent/services": {{"web": {{}}}}}}
        self.send_response(200 if self.path in answers else 404)
        self.end_headers()
        self.wfile.write(json.dumps(answers.get(self.path, {{}})).encode())
    def log_message(self, *arguments):
        pass
http.server.HTTPServer(("127.0.0.1", config["ports"]["http"]), Handler).serve_forever()
"""

COMMAND = shlex.join([sys.executable, "-I", "-S", "-c", _AGENT])

_RUN = """
import signal, sys
from pathlib import Path
from conformance.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests may have ignored it
sys.exit(main(sys.argv[3:], checks=Path(sys.argv[1]), requirements_folder=Path(sys.argv[2])))
"""


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A suite of its own in ``folder``: ``checks/`` and ``requirements/``, and where it writes."""

    folder: Path

    @classmethod
    def of(cls, folder: Path, checks: Mapping[str, str], untested: Sequence[str] = ()) -> Suite:
        """A suite with one module. ``checks`` maps requirement ids to the body of a check with a ``lab``."""
        (folder / "checks").mkdir()
        (folder / "requirements").mkdir()
        source = "import time\nfrom conformance.plugin.marks import requirement\n"
        for number, (identifier, body) in enumerate(checks.items()):
            source += f'\n\n@requirement("{identifier}")\ndef check_{number}(lab):\n    """Stimulus, expectation."""\n'
            source += "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
        (folder / "checks" / "tiny.py").write_text(source)
        suite = cls(folder=folder)
        suite.require(*checks, *untested)
        return suite

    def require(self, *identifiers: str) -> None:
        """Write the register. A behaviour that is called like a feature belongs to it, all others to ``core``."""
        entries = "".join(
            f'\n[[requirement]]\nid = "{identifier}"\nlevel = "MUST"\ntext = "It does."\nsource = "hardening"\n'
            f'feature = "{_feature(identifier)}"\nimportance = "low"\n'
            for identifier in identifiers
        )
        (self.folder / "requirements" / "tiny.toml").write_text(f'area = "tiny"\ntitle = "Tiny"\n{entries}')

    def command(self, *arguments: str) -> list[str]:
        """The command line of this suite."""
        folders = [str(self.folder / "checks"), str(self.folder / "requirements")]
        return [sys.executable, "-c", _RUN, *folders, *arguments]

    def judge(self, *arguments: str) -> list[str]:
        """The command line that judges the tiny agent, in one process unless ``arguments`` say otherwise."""
        return self.command("run", "--target", "process", "--command", COMMAND, "-n", "0", *arguments)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Judge the tiny agent to the end."""
        return self.call(self.judge(*arguments))

    def call(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command in the suite's folder, with its output."""
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
        )

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Judge the tiny agent in the background, in a process group of its own; ended with the block."""
        with (self.folder / "output.txt").open("w") as output:
            child = subprocess.Popen(
                self.judge(*arguments),
                cwd=self.folder,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        try:
            yield child
        finally:
            child.kill()
            child.wait()

    def report(self) -> Report:
        """The report of the last run."""
        return decode((self.folder / "proxyproof-report" / "report.json").read_text())


def _feature(identifier: str) -> str:
    behaviour = identifier.split("/")[1]
    return behaviour if behaviour in list(Feature) else Feature.CORE


def await_proxies(runner: int, count: int) -> list[Process]:
    """Wait until ``count`` proxies run somewhere below the process ``runner``; returns all its descendants."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        below = processes.descendants(runner)
        proxies = [each for each in below if b"CONNECT_PROXY_ID=" in processes.raw_environment(each.pid)]
        if len(proxies) >= count:
            return below
        time.sleep(0.05)
    raise AssertionError(f"{count} proxies did not appear")


def await_end(those: Sequence[Process]) -> list[Process]:
    """Those which are still alive after a while: none, when all is well."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (alive := [process for process in those if process.alive()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive
