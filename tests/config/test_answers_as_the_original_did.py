"""Every configuration that was put to Consul 1.4.3 gets the same verdict here, with the same words."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reference.config.load import load
from reference.config.sources import Sources
from tests.config.writing import refusal, write

_OBSERVED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("observed-config-validate.json").read_text()
)

#: Accepted by the original, refused here: case -> (what is said, why).
_REFUSED_HERE = {
    "bad-exec-mode": ("invalid exec mode: foo", "the original says so only when it starts"),
    "proxy_defaults-bad-exec-mode": ("invalid exec mode: zzz", "the original says so only when it starts"),
    "bind-port-bad": ("cannot parse 'bind_port' as int", "the original says so only when it starts"),
}
#: Refused by both, for another reason here: the text of this agent.
_REFUSED_OTHERWISE = {
    "hcl-two-config-blocks": "service.connect.proxy.config: more than one block is not supported",
}
#: Refused by the original against the document, which calls the key `command`.
_ACCEPTED_HERE = {"proxy_defaults-command-as-in-seed-hcl"}


def _file(case: str, directory: Path) -> str:
    config = _OBSERVED[case]["config"]
    text = config if isinstance(config, str) else json.dumps(config)
    suffix = "hcl" if isinstance(config, str) else "json"
    return write(directory / f"x.{suffix}", text.replace("<data>", str(directory / "data")))


def _problem(output: str) -> str:
    """The last thing that the original's output says, without its count of errors and its place."""
    return re.split(r"\* |Config validation failed: ", output)[-1].strip()


@pytest.mark.parametrize("case", _OBSERVED)
def test_the_verdict_is_the_originals(case: str, tmp_path: Path) -> None:
    sources = Sources(paths=(_file(case, tmp_path),))
    observed = _OBSERVED[case]
    if case in _REFUSED_HERE:
        assert observed["rc"] == 0
        assert _REFUSED_HERE[case][0] in str(refusal(sources))
    elif case in _REFUSED_OTHERWISE:
        assert observed["rc"] != 0
        assert _REFUSED_OTHERWISE[case] in str(refusal(sources))
    elif case in _ACCEPTED_HERE:
        assert observed["rc"] == 1
        load(sources)
    elif observed["rc"] == 0:
        load(sources)
    else:
        error = refusal(sources)
        assert error.where.startswith(sources.paths[0])
        assert _problem(observed["output"]) in str(error)
