"""``python tests/faulty NAME ARGUMENT ...``: ``proxyproof ARGUMENT ...``, with the fault NAME in it.

The agent derives the default command of proxies from how it was started. They shall be honest, unless the fault is
one of the proxy (``in_proxy``): then the agent is honest, and starts its proxies as it was started itself. For a fault
that comes to light when the agent is upgraded (``upgraded``) the program is a file that calls :func:`main`: the agent
has the fault, and its proxies are started from that file.

``python tests/faulty --list FOLDER`` tells ``proxyproof mutants`` of all faults, and puts such files into the folder.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faulty import Fault


def _lead_proxies_here(name: str) -> None:
    import reference.agent.agent as agent
    import reference.agent.environment as environment
    import reference.agent.supervision as supervision

    def launcher() -> tuple[str, ...]:
        return (sys.executable, str(Path(__file__).parent), name)

    setattr(environment, "launcher", launcher)  # noqa: B010  # mypy: what it imports is not to be assigned
    setattr(agent, "launcher", launcher)  # noqa: B010
    setattr(supervision, "locate", lambda started_by: started_by)  # noqa: B010


def _list(folder: Path) -> int:
    from tests import faulty

    listed = [
        {
            "name": fault.name,
            "lie": fault.lie,
            "breaks": sorted(fault.breaks),
            "disturbs": sorted(fault.disturbs),
            "command": [*_program(fault, folder), "agent"],
            "one_file": fault.upgraded,
        }
        for fault in faulty.load_all().values()
    ]
    exempt = tomllib.loads(Path(__file__).with_name("exempt.toml").read_text())
    json.dump({"faults": listed, "exempt": exempt}, sys.stdout, indent=1)
    return 0


def _program(fault: Fault, folder: Path) -> list[str]:
    """The front of the command line; one that is upgraded is all in one file, which can be copied."""
    here = Path(__file__).resolve().parent
    if not fault.upgraded:
        return [sys.executable, str(here), fault.name]
    program = folder / fault.name
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(here.parents[1])!r})\n"
        "from tests.faulty.__main__ import main\n"
        f"sys.argv.insert(1, {fault.name!r})\nsys.exit(main())\n"
    )
    program.chmod(0o755)
    return [str(program)]


def main() -> int:
    # Not from this folder, whose modules are called as others elsewhere are.
    here = Path(__file__).resolve().parent
    sys.path[:] = [str(here.parents[1]), *(path for path in sys.path if path != str(here))]
    if sys.argv[1] == "--list":
        return _list(Path(sys.argv[2]))
    import proxyproof.__main__ as honest
    from tests import faulty

    program, name, *arguments = sys.argv
    fault = faulty.load(name)
    if fault.in_proxy and arguments[0] == "agent":
        _lead_proxies_here(name)
    elif arguments[0] == "agent" or not fault.upgraded:
        fault.install()
    sys.argv = [program if fault.upgraded else str(Path(honest.__file__)), *arguments]
    return honest.main()


if __name__ == "__main__":
    sys.exit(main())
