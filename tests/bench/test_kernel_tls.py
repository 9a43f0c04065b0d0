"""What the bench says of kernel TLS is what the kernel lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.bench import kernel_tls

LISTED = Path("/proc/sys/net/ipv4/tcp_available_ulp")


def test_it_is_found_where_it_is() -> None:
    found = kernel_tls.available()  # may load it
    if not LISTED.exists():
        pytest.skip("this kernel lists no such protocols")
    assert found is ("tls" in LISTED.read_text().split())
