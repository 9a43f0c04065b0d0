"""A proxy that registers itself: a service of kind ``connect-proxy`` whose check it keeps passing (MP-CLI-006)."""

from __future__ import annotations

import threading
import time
from typing import Any
from urllib.parse import quote

from reference.proxy.api import Agent, AgentError, Client
from reference.proxy.endpoints import Address
from reference.proxy.log import Log

#: How often the agent is asked whether it still knows us; it may have been restarted without its state.
RECONCILE_SECONDS = 30.0
TTL_SECONDS = 30
#: How often the check is passed, so that it survives two failures.
HEARTBEAT_SECONDS = TTL_SECONDS / 3
DEREGISTER_ATTEMPTS = 3
DEREGISTER_PAUSE = 0.5
#: An address that means all of them is no address to connect to: then the agent's node stands in (as with none).
_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104


class Registration:
    """Registers on a thread of its own until :meth:`stop`. A refusal is logged and tried again."""

    def __init__(self, agent: Agent, *, service: str, suffix: str, address: Address, log: Log) -> None:
        self.name = f"{service}-proxy"
        self.id = f"{self.name}-{suffix}" if suffix else self.name
        self._service = service
        self._address = address
        self._client = Client(agent)
        self._log = log
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="registration", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin to deregister; may be called from a signal handler, and more than once."""
        self._stopped.set()

    def join(self) -> None:
        """Wait until that is done or has been given up."""
        self._thread.join()

    def _keep(self) -> None:
        self._register()
        reconciled = time.monotonic()
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            if time.monotonic() - reconciled >= RECONCILE_SECONDS:
                self._register()
                reconciled = time.monotonic()
            self._pass()
        self._log.info("proxy: stop request received, deregistering")
        self._deregister()
        self._client.close()

    def _register(self) -> None:
        try:
            if self._is_registered():
                self._log.debug("proxy: service already registered, not re-registering")
                return
            self._client.put("/v1/agent/service/register", self._definition())
        except AgentError as problem:
            self._log.warn(f"proxy: Failed to register Consul service: {problem}")
        else:
            self._log.info(f"proxy: registered Consul service: {self.id}")

    def _is_registered(self) -> bool:
        known = self._client.get("/v1/agent/services").get(self.id)
        return known is not None and (known.get("Address"), known.get("Port")) == (
            self._host(),
            self._address.port,
        )

    def _host(self) -> str:
        return "" if self._address.host in _ANY else self._address.host

    def _definition(self) -> dict[str, Any]:
        return {
            "Kind": "connect-proxy",
            "ID": self.id,
            "Name": self.name,
            "Address": self._host(),
            "Port": self._address.port,
            "Proxy": {"DestinationServiceName": self._service},
            "Check": {
                "CheckID": self._check_id(),
                "Name": "proxy heartbeat",
                "TTL": f"{TTL_SECONDS}s",
                "Notes": "Built-in proxy will heartbeat this check.",
                "Status": "passing",
            },
        }

    def _pass(self) -> None:
        try:
            self._client.put(f"/v1/agent/check/pass/{quote(self._check_id(), safe='')}")
        except AgentError as problem:
            if "does not have associated" not in str(problem):  # it will be registered again
                self._log.warn(f"proxy: heartbeat failed: {problem}")

    def _deregister(self) -> None:
        for attempt in range(DEREGISTER_ATTEMPTS):
            if attempt:
                time.sleep(DEREGISTER_PAUSE)
            try:
                self._client.put(f"/v1/agent/service/deregister/{quote(self.id, safe='')}")
            except AgentError as problem:
                self._log.warn(f"proxy: service deregister failed: {problem}")
            else:
                return

    def _check_id(self) -> str:
        return f"{self.id}-ttl"
