"""Writes the pages of this folder that are drawn from the code: ``python docs/generate.py``."""

from __future__ import annotations

import re
from pathlib import Path

from conformance.plugin import discovery
from conformance.requirements import load
from reference.supervisor import core

HERE = Path(__file__).parent


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
    sections = "\n".join(lines)
    return f"""# Requirements

Drawn from `conformance/requirements/` by `python docs/generate.py`. {tested} of {len(tuple(register))} have a check;
`proxyproof requirements show ID` tells the whole of one, with the published text of its checks.

{sections}"""


#: Each generated page and what draws it.
PAGES = {"requirements.md": requirements, "supervisor-states.md": supervisor_states}

if __name__ == "__main__":
    for name, draw in PAGES.items():
        (HERE / name).write_text(draw())
