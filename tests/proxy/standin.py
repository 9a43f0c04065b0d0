"""A stand-in for the agent: the endpoints that a proxy asks, over a state that a test changes.

It is verified, not trusted: the end-to-end tests run against a real agent as well when ``PROXYPROOF_CONSUL`` names
its binary (see ``conftest.py``), and both worlds are driven by the same requests. Only what a proxy and those tests
use is here; ports, checks and tokens are the real agent's business.
"""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.proxy.authority import Authority
from tests.proxy.worlds import Definition


class State:
    """What the stand-in knows. Every change bumps the index and wakes up all blocked readers."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.index = 10
        self.indexes: dict[str, int] = {}
        self.trust_domain = f"{uuid.uuid4()}.consul"
        self.authorities = [Authority(self.trust_domain, number=7)]
        self.definitions: dict[str, Definition] = {}
        self.instances: dict[str, dict[str, Any]] = {}
        self.queries: dict[str, str] = {}
        #: What a prepared query answers instead of the healthy instances of its service, in this order.
        self.answers: dict[str, list[dict[str, Any]]] = {}
        #: Ids of instances whose checks fail.
        self.failing: set[str] = set()
        self.denied: dict[str, tuple[str, str]] = {}
        self.leaves: dict[str, dict[str, Any]] = {}
        #: Options of the leaves that are signed from now on.
        self.leaf_options: dict[str, Any] = {}
        self.authorized: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.passed: list[str] = []
        self.tokens: set[str] = set()
        #: What every request is answered with, and the topics that are answered with 500.
        self.refusal: tuple[int, str] | None = None
        self.withheld: set[str] = set()
        #: Whether blocking queries are answered at once.
        self.impatient = False

    def touch(self, *topics: str) -> None:
        with self.changed:
            self.index += 1
            for topic in topics:
                self.indexes[topic] = self.index
            self.changed.notify_all()

    def index_of(self, topic: str) -> int:
        return self.indexes.get(topic, 5)

    def leaf(self, service: str) -> dict[str, Any]:
        with self.changed:
            if service not in self.leaves:
                certificate, key, serial = self.authorities[-1].leaf(service, **self.leaf_options)
                if len(self.authorities) > 1:
                    certificate += self.authorities[-2].cross_sign(self.authorities[-1])
                ends = datetime.now(UTC) + timedelta(hours=self.leaf_options.get("ends", 24))
                self.leaves[service] = {
                    "SerialNumber": serial,
                    "CertPEM": certificate,
                    "PrivateKeyPEM": key,
                    "Service": service,
                    "ValidBefore": ends.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    "ServiceURI": f"spiffe://{self.trust_domain}/ns/default/dc/dc1/svc/{service}",
                }
            return self.leaves[service]

    def renew_leaf(self, service: str) -> None:
        with self.changed:
            self.leaves.pop(service, None)
        self.touch(f"leaf/{service}")

    def rotate_root(self) -> None:
        self.authorities.append(Authority(self.trust_domain, number=len(self.authorities) + 7))
        with self.changed:
            services = sorted(self.leaves)
            self.leaves.clear()
        self.touch("roots", *(f"leaf/{service}" for service in services))

    def roots(self) -> dict[str, Any]:
        return {
            "ActiveRootID": str(self.authorities[-1].number),
            "TrustDomain": self.trust_domain,
            "Roots": [
                {"ID": str(one.number), "RootCert": one.certificate, "Active": one is self.authorities[-1]}
                for one in self.authorities
            ],
        }

    def proxy(self, proxy_id: str) -> dict[str, Any] | None:
        definition = self.definitions.get(proxy_id.removesuffix("-proxy"))
        if definition is None or not proxy_id.endswith("-proxy"):
            return None
        answer = {
            "ProxyServiceID": proxy_id,
            "TargetServiceID": definition.name,
            "TargetServiceName": definition.name,
            "ExecMode": "daemon",
            "Command": ["proxy"],
            "Config": {
                "bind_address": "127.0.0.1",
                "local_service_address": f"127.0.0.1:{definition.port}",
                **definition.config,
            },
            "Upstreams": [
                {
                    "DestinationType": upstream.get("destination_type", "service"),
                    "DestinationName": upstream["destination_name"],
                    "LocalBindPort": upstream["local_bind_port"],
                    "LocalBindAddress": upstream.get("local_bind_address", ""),
                    **({"Config": upstream["config"]} if "config" in upstream else {}),
                }
                for upstream in definition.upstreams
            ],
        }
        answer["ContentHash"] = f"{hash(json.dumps(answer, sort_keys=True)) & 0xFFFFFFFFFFFFFFFF:x}"
        return answer

    def registered(self, service_id: str) -> dict[str, Any] | None:
        """A registered proxy as ``/v1/agent/service/:id`` shows it."""
        body = self.instances.get(service_id)
        if body is None:
            return None
        answer = {"Kind": body.get("Kind", ""), "ID": service_id, "Service": body["Name"], **body}
        answer["ContentHash"] = f"{hash(json.dumps(answer, sort_keys=True)) & 0xFFFFFFFFFFFFFFFF:x}"
        return answer

    def healthy(self, service: str) -> list[dict[str, Any]]:
        found = [
            self._entry(
                f"{name}-proxy",
                name,
                definition.config.get("bind_address", "127.0.0.1"),
                definition.config["bind_port"],
            )
            for name, definition in self.definitions.items()
            if name == service
        ]
        return found + [
            {
                **(entry := self._entry(one["Name"], destination, one.get("Address", ""), one["Port"])),
                "Service": {**entry["Service"], "ID": one["ID"]},
            }
            for one in self.instances.values()
            if one["ID"] not in self.failing
            and (destination := one.get("Proxy", {}).get("DestinationServiceName")) == service
        ]

    @staticmethod
    def _entry(name: str, destination: str, address: str, port: int) -> dict[str, Any]:
        return {
            "Node": {"Node": "standin", "Address": "127.0.0.1", "Datacenter": "dc1"},
            "Service": {
                "ID": name,
                "Service": name,
                "Kind": "connect-proxy",
                "Address": address,
                "Port": port,
                "Proxy": {"DestinationServiceName": destination},
                "Connect": {},
            },
            "Checks": [],
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    state: State


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """The stand-in keeps quiet; ``State.requests`` tells what was asked."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True  # a proxy that has ended

    def do_GET(self) -> None:
        state, (path, query) = self.server.state, self._asked()
        match path.strip("/").split("/"):
            case [_, "agent", "connect", "proxy", proxy_id]:
                self._block(f"proxy/{proxy_id}", query, by_hash=lambda: state.proxy(proxy_id))
            case [_, "agent", "connect", "ca", topic] if topic in state.withheld:
                self._say(500, "not yet")
            case [_, "agent", "connect", "ca", "roots"]:
                self._block("roots", query)
                self._say(200, state.roots(), index=state.index_of("roots"))
            case [_, "agent", "connect", "ca", "leaf", service]:
                self._block(f"leaf/{service}", query)
                self._say(200, state.leaf(service), index=state.index_of(f"leaf/{service}"))
            case [_, "agent", "services"]:
                self._say(200, state.instances)
            case [_, "agent", "service", service_id] if service_id in state.instances:
                self._block(f"service/{service_id}", query, by_hash=lambda: state.registered(service_id))
            case [_, "connect", "intentions"]:
                self._block("intentions", query)
                self._say(200, list(state.denied), index=state.index_of("intentions"))
            case [_, "health", "connect", service]:
                self._block("health", query)
                self._say(200, state.healthy(service), index=state.index_of("health"))
            case [_, "query", name, "execute"]:
                nodes = state.answers.get(name, state.healthy(state.queries.get(name, "")))
                self._say(200, {"Service": name, "Nodes": nodes})
            case _:
                self._say(404, "no such endpoint")

    def do_POST(self) -> None:
        state, (path, _query) = self.server.state, self._asked()
        body = self._body()
        match path.strip("/").split("/"):
            case [_, "agent", "connect", "authorize"]:
                state.authorized.append(body)
                source = body["ClientCertURI"].rpartition("/")[2]
                denied = (source, body["Target"]) in state.denied.values()
                self._say(
                    200, {"Authorized": not denied, "Reason": "Matched intention" if denied else "Default"}
                )
            case [_, "connect", "intentions"]:
                number = str(uuid.uuid4())
                state.denied[number] = (body["SourceName"], body["DestinationName"])
                state.touch("intentions")
                self._say(200, {"ID": number})
            case [_, "query"]:
                state.queries[body["Name"]] = body["Service"]["Service"]
                self._say(200, {"ID": str(uuid.uuid4())})
            case _:
                self._say(404, "no such endpoint")

    def do_PUT(self) -> None:
        state, (path, _query) = self.server.state, self._asked()
        body = self._body()
        match path.strip("/").split("/"):
            case [_, "agent", "service", "register"]:
                state.instances[body["ID"]] = body
                state.touch("health")
            case [_, "agent", "service", "deregister", service_id]:
                state.instances.pop(service_id, None)
                state.touch("health")
            case [_, "agent", "check", "pass", check_id]:
                state.passed.append(check_id)
        self._say(200, "")

    def do_DELETE(self) -> None:
        number = self._asked()[0].rpartition("/")[2]
        self.server.state.denied.pop(number, None)
        self.server.state.touch("intentions")
        self._say(200, "")

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        self.server.state.requests.append(parts.path)
        if token := self.headers.get("X-Consul-Token"):
            self.server.state.tokens.add(token)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        return unquote(parts.path), query

    def _body(self) -> Any:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return json.loads(raw) if raw else {}

    def _block(self, topic: str, query: dict[str, str], by_hash: Any = None) -> None:
        state = self.server.state
        with state.changed:
            if by_hash is not None:
                state.changed.wait_for(
                    lambda: state.impatient or (by_hash() or {}).get("ContentHash", "") != query.get("hash")
                )
            else:
                known = int(query.get("index", 0))
                state.changed.wait_for(lambda: state.impatient or state.index_of(topic) > known)
        if by_hash is not None:
            answer = by_hash()
            if answer is None:
                self._say(404, f"unknown proxy service ID: {topic.removeprefix('proxy/')}")
            else:
                self._say(200, answer, content_hash=answer["ContentHash"])

    def _say(self, status: int, answer: Any, *, index: int = 0, content_hash: str = "") -> None:
        refusal = self.server.state.refusal
        if refusal is not None:
            status, answer, index, content_hash = *refusal, 0, ""
        raw = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        if index:
            self.send_header("X-Consul-Index", str(index))
        if content_hash:
            self.send_header("X-Consul-ContentHash", content_hash)
        self.end_headers()
        self.wfile.write(raw)


class StandIn:
    """The stand-in as a world (see ``worlds.py``): started at once, on a port of its own."""

    def __init__(self, definitions: Sequence[Definition] = ()) -> None:
        self.state = State()
        self._server = self._listen(0)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.define(*definitions)

    def define(self, *definitions: Definition) -> None:
        """Replace all definitions, live."""
        self.state.definitions = {one.name: one for one in definitions}
        self.state.touch("health")

    def rotate_root(self) -> None:
        self.state.rotate_root()

    def kill(self) -> None:
        """Go away: the port closes and every open connection breaks."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def start_again(self) -> None:
        """Come back on the same port, with the same state."""
        self._server = self._listen(int(self.address.rpartition(":")[2]))

    def _listen(self, port: int) -> _Cuttable:
        server = _Cuttable(("127.0.0.1", port), _Handler)
        server.state = self.state
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server


class _Cuttable(_Server):
    """Remembers its connections, so that a killed agent takes them along."""

    def __init__(self, *arguments: Any) -> None:
        self.connections: set[Any] = set()
        super().__init__(*arguments)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break under a killed agent are what a test wants."""
