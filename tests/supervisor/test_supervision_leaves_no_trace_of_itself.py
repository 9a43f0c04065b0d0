"""However often proxies crash, change and are looked after: no zombie, and no descriptor, thread or memory more."""

from __future__ import annotations

import asyncio
import os
import threading
import tracemalloc
from pathlib import Path

from msgspec.structs import replace

from reference.supervisor import linux
from reference.supervisor.runner import ManagedProxies
from reference.supervisor.spec import ProxySpec, ProxyState, ProxyStatus, Timings

#: Both numbers were 10,000 once; here they are what a test run can afford.
CRASHES = int(os.environ.get("PROXYPROOF_CRASHES", "300"))
SYNCS = int(os.environ.get("PROXYPROOF_SYNCS", "1000"))
DEADLINE = 900.0


def zombies() -> int:
    """How many proxies, children of this process as are those of other tests, have ended and were not collected."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return sum(_name(pid) == "true" for pid in children if _has_ended(pid))


def _has_ended(pid: str) -> bool:
    found = linux.stat(int(pid))
    return found is not None and found.state == "Z"


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def descriptors() -> int:
    """How many there are. What other tests have left may be collected meanwhile, and make them fewer."""
    return len(os.listdir("/proc/self/fd"))


def test_a_proxy_that_crashes_again_and_again_leaves_no_zombie_and_no_descriptor() -> None:
    async def story() -> None:
        enough, gone = asyncio.Event(), asyncio.Event()

        def heard(proxy_id: str, status: ProxyStatus | None) -> None:
            if status is None:
                gone.set()
            elif status.restarts >= CRASHES:
                enough.set()

        # Without a data directory: what a start writes is another test's business, and takes most of its time.
        proxies = ManagedProxies(
            data_dir=None,
            agent_id="crashes",
            timings=Timings(quick_starts=10 * CRASHES),
            on_change=heard,
        )
        await proxies.start()
        before = descriptors()
        proxies.define(ProxySpec(proxy_id="web-proxy", token="t", command=("/bin/true",)))
        async with asyncio.timeout(DEADLINE):
            await enough.wait()
        # One may just be ending; it is the only one.
        assert zombies() <= 1
        assert proxies.tally().restarts >= CRASHES
        proxies.remove("web-proxy")
        async with asyncio.timeout(DEADLINE):
            await gone.wait()
        assert zombies() == 0
        assert descriptors() <= before
        await proxies.shut_down(stop=True)

    asyncio.run(story())


def test_looking_after_what_does_not_change_costs_nothing_that_lasts(tmp_path: Path) -> None:
    async def story() -> None:
        running = asyncio.Event()

        def heard(proxy_id: str, status: ProxyStatus | None) -> None:
            if status is not None and status.state is ProxyState.RUNNING:
                running.set()

        proxies = ManagedProxies(data_dir=tmp_path, agent_id="syncs", on_change=heard)
        await proxies.start()
        spec = ProxySpec(proxy_id="web-proxy", token="t", command=("/bin/sleep", "1000"))
        try:
            proxies.define(spec)
            await running.wait()
            pid = proxies.status()["web-proxy"].pid
            written = (tmp_path / "proxy/snapshot.json").stat().st_mtime_ns
            for _ in range(100):
                sync(proxies, spec)
            tracemalloc.start()
            held, threads = descriptors(), threading.active_count()
            memory, _ = tracemalloc.get_traced_memory()
            for _ in range(SYNCS):
                sync(proxies, spec)
            grown = tracemalloc.get_traced_memory()[0] - memory
            tracemalloc.stop()
            assert descriptors() <= held
            assert threading.active_count() <= threads
            assert grown < 20_000, f"{grown} bytes more after {SYNCS} syncs"
            assert proxies.status()["web-proxy"].pid == pid
            assert (tmp_path / "proxy/snapshot.json").stat().st_mtime_ns == written
        finally:
            await proxies.shut_down(stop=True)

    asyncio.run(story())


def sync(proxies: ManagedProxies, spec: ProxySpec) -> None:
    """What a reload does for each proxy that is as it was."""
    proxies.define(replace(spec))
    proxies.status()
