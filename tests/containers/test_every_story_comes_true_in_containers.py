"""Each story of ``scenarios/`` is told in containers: machines that lose their power and are put in place of others."""

from __future__ import annotations

import subprocess
import sys

import pytest

from proxyproof import scenarios

_TELL = (sys.executable, "-m", "proxyproof", "scenarios", "run", "--world", "containers")
#: How many tell stories beside each other: they wait more than they work.
_PARTS = 6


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("images")
def test_all_of_them() -> None:
    names = scenarios.names()
    telling = [
        subprocess.Popen(
            [*_TELL, *names[part::_PARTS]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for part in range(_PARTS)
    ]
    told = [process.communicate()[0] for process in telling]
    print(*told)  # pytest shows it with a failure
    assert [process.returncode for process in telling] == [0] * _PARTS
    assert "".join(told).count("fulfilled    containers") == len(names)
