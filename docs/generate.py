"""Writes the pages of this folder that are drawn from the code: ``python docs/generate.py``."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from conformance.mutants.matrix import schema as mutants_schema
from conformance.plugin import discovery
from conformance.report.model import schema as report_schema
from conformance.requirements import load
from conformance.requirements.statements import load_sources
from conformance.targets import protocol
from reference.http import openapi
from reference.supervisor import core

HERE = Path(__file__).parent
EXPECTED = HERE.parent / "conformance" / "targets" / "expected"


def supervisor_states() -> str:
    """The supervisor's rules and transitions, as its core has them."""
    rules = (core.__doc__ or "").partition("-----\n")[2].partition("``TRANSITIONS``")[0]
    rules = re.sub(r":class:`~?\.?(?:events\.)?(\w+)`", r"`\1`", rules)
    edges = sorted(
        (state.value, event.__name__, "gone" if to is None else to.value)
        for (state, event), transition in core.TRANSITIONS.items()
        for to in transition.leads_to
        if to is not state
    )
    diagram = "\n".join(
        f"    {source} --> {target}: {event}"
        for source, event, target in [("[*]", "Defined", "adopting"), *edges]
    ).replace("--> gone", "--> [*]")
    rows = "\n".join(
        f"| {state.value} | {event.__name__} | "
        + ", ".join(sorted("gone" if to is None else to.value for to in transition.leads_to))
        + " |"
        for (state, event), transition in core.TRANSITIONS.items()
    )
    return f"""# How the supervisor decides

Drawn from `reference/supervisor/core.py` by `python docs/generate.py`; a test keeps the two equal.

## Rules

{rules.strip()}

## Transitions

An event that is not in this table cannot come in that state: it raises, and changes nothing.

| state | event | may lead to |
|---|---|---|
{rows}

```mermaid
stateDiagram-v2
{diagram}
```
"""


def requirements() -> str:
    """The register, an area after the other, with what has no check yet."""
    register, proofs = load(), discovery.by_requirement(discovery.discover())
    tested = sum(entry.id in proofs for entry in register)
    lines: list[str] = []
    for area in register.areas:
        lines += [
            f"## {area.title}",
            "",
            "| id | level | feature | requirement | source | check |",
            "|---" * 6 + "|",
        ]
        for entry in area.requirements:
            check = "yes" if entry.id in proofs else "**untested**"
            cells = (
                f"`{entry.id}`",
                entry.level,
                entry.feature,
                entry.text.replace("|", "\\|"),
                entry.source,
                check,
            )
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    lines += [
        "## What nobody is held to",
        "",
        "Each statement of the sources is asked for by requirements, or stands here with its reason;",
        "`proxyproof requirements coverage --statements` tells of every one.",
        "",
    ]
    for source in load_sources(register):
        lines += [
            f"### {source.title}: {source.required} of {len(source.statements)} required",
            "",
            "| statement | | reason |",
            "|---" * 3 + "|",
            *(
                f"| {statement.id} {statement.text} | {statement.outside} | {statement.reason} |"
                for statement in source.statements
                if statement.outside is not None
            ),
            "",
        ]
    sections = "\n".join(lines).rstrip() + "\n"
    return f"""# Requirements

Drawn from `conformance/requirements/` by `python docs/generate.py`. {tested} of {len(tuple(register))} have a check;
`proxyproof requirements show ID` tells the whole of one, with the published text of its checks.

{sections}"""


def releases() -> str:
    """The failures that releases of the original are known for."""
    sections = []
    for path in sorted(EXPECTED.glob("*.toml"), reverse=True):
        told = tomllib.loads(path.read_text())
        rows = "\n".join(
            f"| `{entry['requirement']}` | {entry['reason']} | {_reference(entry.get('link', ''))} |"
            for entry in sorted(told["expected"], key=lambda entry: str(entry["requirement"]))
        )
        sections.append(
            f"## {told['implementation']}: {len(told['expected'])} known failures\n\n"
            f"| requirement | what it does | reported |\n|---|---|---|\n{rows}\n"
        )
    body = "\n".join(sections)
    return f"""# What releases of Consul are known for

Drawn from `conformance/targets/expected/` by `python docs/generate.py`. `--target consul` goes by these files: a known
failure does not count, and one that passes, or fails in another way, does.

{body}"""


def _reference(link: str) -> str:
    return f"[{link.rpartition('/')[2]}]({link})" if link else ""


#: Each generated page and what draws it.
PAGES = {
    "adapter.schema.json": lambda: protocol.schema().decode(),
    "mutants.schema.json": mutants_schema,
    "report.schema.json": report_schema,
    "openapi.json": lambda: json.dumps(openapi.document(), indent=1) + "\n",
    "releases.md": releases,
    "requirements.md": requirements,
    "supervisor-states.md": supervisor_states,
}

if __name__ == "__main__":
    for name, draw in PAGES.items():
        (HERE / name).write_text(draw())
