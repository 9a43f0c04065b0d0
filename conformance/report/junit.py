"""The report as JUnit XML, for build servers: one suite per area, one case per check."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from xml.etree import ElementTree

from conformance.report.model import CheckResult, Report
from conformance.report.verdict import Verdict

#: What XML 1.0 has no way to say.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

#: The element that a case gets; a pass has none, and what was not run counts as skipped.
_ELEMENTS = {
    Verdict.UNKNOWN: "skipped",
    Verdict.DISABLED: "skipped",
    Verdict.SKIP: "skipped",
    Verdict.FAIL: "failure",
    Verdict.ERROR: "error",
}


def junit(report: Report) -> str:
    """The XML text."""
    areas: defaultdict[str, list[CheckResult]] = defaultdict(list)
    for check in report.checks:
        areas[check.requirement.partition("/")[0]].append(check)
    root = ElementTree.Element("testsuites", {"name": "proxyproof", **_totals(report.checks)})
    for area, checks in sorted(areas.items()):
        facts = {"name": area, "timestamp": report.started, "hostname": report.target.name}
        suite = ElementTree.SubElement(root, "testsuite", {**facts, **_totals(checks)})
        for check in checks:
            _case(suite, check)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ElementTree.Element, check: CheckResult) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=check.requirement, name=check.title, time=f"{check.seconds:.3f}"
    )
    if check.measurements:
        properties = ElementTree.SubElement(case, "properties")
        for figure in check.measurements:
            ElementTree.SubElement(properties, "property", name=figure.name, value=figure.words)
    if check.verdict in _ELEMENTS:
        reason = _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", check.reason or check.verdict.word)
        element = ElementTree.SubElement(case, _ELEMENTS[check.verdict], message=reason.splitlines()[0])
        element.text = reason
    if check.history:
        ElementTree.SubElement(case, "system-out").text = f"history: {check.history}"


def _totals(checks: Sequence[CheckResult]) -> dict[str, str]:
    elements = [_ELEMENTS.get(check.verdict) for check in checks]
    return {
        "tests": str(len(checks)),
        "failures": str(elements.count("failure")),
        "errors": str(elements.count("error")),
        "skipped": str(elements.count("skipped")),
        "time": f"{sum(check.seconds for check in checks):.3f}",
    }
