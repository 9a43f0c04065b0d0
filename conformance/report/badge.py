"""The outcome as a badge: a small SVG image that needs no font, script or service."""

from __future__ import annotations

from html import escape

from conformance.report.facts import conclusion, profiles
from conformance.report.model import Report

_COLOURS = {
    "conforms": "#2e7d32",
    "does not conform": "#c62828",
    "the suite broke": "#6a1b9a",
    "interrupted": "#616161",
}
_KNOWN_FAILURES = "#b26a00"
#: Wide enough for each letter in the fonts that `sans-serif` stands for (px).
_LETTER, _MARGIN, _HEIGHT = 7, 8, 20


def badge(report: Report) -> str:
    """``proxyproof | conforms: core, discovery``, coloured by the outcome."""
    outcome = conclusion(report)
    passed = [line.name for line in profiles(report) if line.result == "success"]
    value = f"{outcome}: {', '.join(passed)}" if outcome == "conforms" and passed else outcome
    left, right = (_LETTER * len(text) + 2 * _MARGIN for text in ("proxyproof", value))
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{_HEIGHT}" role="img">
<title>proxyproof: {escape(value)}</title>
<rect width="{left}" height="{_HEIGHT}" fill="#424242"/>
<rect x="{left}" width="{right}" height="{_HEIGHT}" fill="{_COLOURS.get(outcome, _KNOWN_FAILURES)}"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">
<text x="{left / 2}" y="14" textLength="{left - 2 * _MARGIN}">proxyproof</text>
<text x="{left + right / 2}" y="14" textLength="{right - 2 * _MARGIN}">{escape(value)}</text>
</g>
</svg>
"""
