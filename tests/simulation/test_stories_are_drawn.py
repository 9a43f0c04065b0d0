"""The timeline: a lane for each process, complete in itself, and whatever it shows is also in words."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from reference.supervisor.simulation.safeguards import Safeguard
from reference.supervisor.simulation.schedule import parse
from reference.supervisor.simulation.story import play
from reference.supervisor.simulation.timeline import page

SVG = "{http://www.w3.org/2000/svg}"
STORY = parse("""
    1  start
    2  define web program=polite
    3  kill
    4  lose
    500  start
""")


def drawn(without: frozenset[Safeguard] = frozenset()) -> tuple[str, ElementTree.Element]:
    outcome = play(STORY, without=without)
    text = page(
        outcome.chronicle, title="<A story>", broken=outcome.breach, again="again", schedule=str(STORY)
    )
    (picture,) = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    return text, ElementTree.fromstring(picture)


def classes(picture: ElementTree.Element, tag: str) -> list[str]:
    return [element.get("class", "") for element in picture.iter(f"{SVG}{tag}")]


def test_each_life_of_an_agent_and_each_process_has_a_lane() -> None:
    _, picture = drawn()
    titles = [title.text or "" for title in picture.iter(f"{SVG}title")]
    assert any(title.startswith("agent 1: starts; is killed") for title in titles)
    assert any(title.startswith("agent 2: ") for title in titles)
    assert any(title.startswith("web-proxy 2: ") for title in titles)
    assert classes(picture, "line").count("deed") == len(STORY.deeds), "accidents stop where the last deed is"


def test_a_breach_is_marked_and_a_long_pause_is_cut() -> None:
    _, picture = drawn(frozenset({Safeguard.SEARCH}))
    assert "breach" in classes(picture, "line")
    assert any(
        "496.0 s in which nothing happens" in (title.text or "") for title in picture.iter(f"{SVG}title")
    )


def test_the_page_needs_nothing_else() -> None:
    text, _ = drawn()
    assert "<script" not in text
    assert "href" not in text
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]
    assert "&lt;A story&gt;" in text
    assert "define web program=polite" in text
