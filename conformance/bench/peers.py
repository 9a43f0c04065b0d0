"""How each proxy is set up: two hops of mutual TLS before one application.

All but the original and ghostunnel have certificates of one agent of ours; all are P-256. The plain proxies
check chains (nginx on its accepting side alone) and no SPIFFE names: what they are spared, the built-in proxies of both
agents do for each connection, besides asking whether it is authorized.
"""

from __future__ import annotations

import json
import shutil
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme

from conformance.bench import load
from conformance.bench.stage import AGENT, NOBODY, Stage

DIRECT, OURS, ORIGINAL = "direct", "proxyproof", "original"
NGINX_STREAM = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
#: Connections that a peer with such a limit must be able to hold.
MOST = 9_500


class PeerError(Exception):
    """A peer cannot take part; the message is one sentence for the operator."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What all peers share: the application's port, and the files of a near and a far certificate and of the root."""

    stage: Stage
    application: int
    near: Path
    far: Path
    roots: Path


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A way to the application. ``set_up`` starts it and gives the port where it begins."""

    name: str
    set_up: Callable[[Scene], int]
    version: Sequence[str] = field(default=())


def found(*, binary: str | None, ghostunnel: str | None) -> dict[str, Peer]:
    """The peers that this machine has, by name. :class:`PeerError` for a given file that cannot be executed."""
    peers = [Peer(name=DIRECT, set_up=lambda scene: scene.application)]
    program = (sys.executable, "-m", "proxyproof")
    peers.append(
        Peer(name=OURS, set_up=lambda scene: _managed(scene, program, OURS), version=(*program, "version"))
    )
    if shutil.which("haproxy"):
        peers.append(Peer(name="haproxy", set_up=_haproxy, version=("haproxy", "-v")))
    if shutil.which("nginx") and NGINX_STREAM.exists():
        peers.append(Peer(name="nginx", set_up=_nginx, version=("nginx", "-v")))
    if shutil.which("stunnel4"):
        peers.append(Peer(name="stunnel", set_up=_stunnel, version=("stunnel4", "-version")))
    if ghostunnel is not None:
        tunnel = _executable("--ghostunnel", ghostunnel)
        peers.append(
            Peer(
                name="ghostunnel",
                set_up=lambda scene: _ghostunnel(scene, tunnel),
                version=(tunnel, "--version"),
            )
        )
    if binary is not None:
        original = _executable("--binary", binary)
        peers.append(
            Peer(
                name=ORIGINAL,
                set_up=lambda scene: _managed(scene, (original,), ORIGINAL),
                version=(original, "version"),
            )
        )
    return {peer.name: peer for peer in peers}


def _executable(option: str, path: str) -> str:
    resolved = shutil.which(path)
    if resolved is None:
        raise PeerError(f"{option} {path} is not an executable file; name the program itself")
    return str(Path(resolved).absolute())


def scene(stage: Stage) -> Scene:
    """Start the application and the agent that certifies everybody."""
    application = stage.application()
    port = _agent(stage, (sys.executable, "-m", "proxyproof"), [], peer=NOBODY)
    files = {name: stage.folder / f"{name}.pem" for name in ("near", "far", "roots")}
    for name in ("near", "far"):
        leaf = _ask(port, f"/v1/agent/connect/ca/leaf/{name}")
        files[name].touch(mode=0o600)
        files[name].write_text(leaf["CertPEM"] + leaf["PrivateKeyPEM"])
    files["roots"].write_text(_ask(port, "/v1/agent/connect/ca/roots")["Roots"][0]["RootCert"])
    return Scene(stage=stage, application=application, **files)


def open_route(peer: Peer, scene: Scene) -> int:
    """Set ``peer`` up; its port, once the application answers there."""
    stage = scene.stage
    port = peer.set_up(scene)

    def answers() -> bool:
        with load.connect(port) as sock:
            sock.settimeout(5)
            load.exchange(sock)
        return True

    stage.await_(peer.name, peer.name, answers)
    stage.settle(peer.name)
    return port


def _agent(stage: Stage, program: Sequence[str], services: Sequence[Mapping[str, Any]], *, peer: str) -> int:
    """An agent that manages proxies for ``services``; its HTTP port."""
    http, server, lan, wan = stage.ports.ports(4)
    ports = {"http": http, "dns": -1}
    if peer == ORIGINAL:
        ports |= {"server": server, "serf_lan": lan, "serf_wan": wan, "grpc": -1}
    options = {
        "bind_addr": "127.0.0.1",
        "ports": ports,
        "log_level": "INFO",
        "connect": {"enabled": True, "proxy": {"allow_managed_root": True}},
        "services": services,
    }
    path = stage.folder / f"agent-of-{peer}.json"
    path.write_text(json.dumps(options))
    command = ["env", f"{AGENT}=1", *program, "agent", "-dev", "-config-file", str(path)]
    stage.start(command, peer=peer)
    whose = "the agent for certificates" if peer == NOBODY else f"the agent of {peer}"
    stage.await_(peer, whose, lambda: bool(_ask(http, "/v1/agent/connect/ca/roots")["Roots"]))
    return http


def _managed(scene: Scene, program: Sequence[str], peer: str) -> int:
    """Managed proxies of an agent, each new connection authorized by it."""
    stage = scene.stage
    begin, near, far = stage.ports.ports(3)
    upstream = {"destination_name": "far", "local_bind_port": begin}
    services = [
        _service("near", scene.application, {"config": {"bind_port": near}, "upstreams": [upstream]}),
        _service("far", scene.application, {"config": {"bind_port": far}}),
    ]
    _agent(stage, program, services, peer=peer)
    return begin


def _service(name: str, port: int, proxy: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "port": port, "connect": {"proxy": proxy}}


def _ask(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.load(answer)


def _haproxy(scene: Scene) -> int:
    stage = scene.stage
    here, there = stage.ports.ports(2)
    common = (
        f"global\n nbthread 2\n maxconn {MOST}\n"
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n"
    )
    verify = f"ca-file {scene.roots} verify required"
    sides = {
        "near": f" bind 127.0.0.1:{here}\n server s 127.0.0.1:{there} ssl crt {scene.near} {verify}\n",
        "far": f" bind 127.0.0.1:{there} ssl crt {scene.far} {verify}\n server s 127.0.0.1:{scene.application}\n",
    }
    for side, text in sides.items():
        path = stage.folder / f"haproxy-{side}.cfg"
        path.write_text(f"{common}listen {side}\n{text}")
        stage.start(["haproxy", "-db", "-f", str(path)], peer="haproxy")
    return here


def _nginx(scene: Scene) -> int:
    stage = scene.stage
    here, there = stage.ports.ports(2)
    # A name cannot be verified where certificates have none; the chain is.
    up = (
        f"proxy_ssl on; proxy_ssl_certificate {scene.near}; proxy_ssl_certificate_key {scene.near};"
        f" proxy_ssl_verify off; proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_trusted_certificate {scene.roots};"
    )
    down = (
        f"ssl_certificate {scene.far}; ssl_certificate_key {scene.far}; ssl_verify_client on;"
        f" ssl_client_certificate {scene.roots}; ssl_protocols TLSv1.2 TLSv1.3;"
    )
    for side, listen, target, options in (
        ("near", f"127.0.0.1:{here}", there, up),
        ("far", f"127.0.0.1:{there} ssl", scene.application, down),
    ):
        path = stage.folder / f"nginx-{side}.conf"
        path.write_text(
            f"load_module {NGINX_STREAM};\nworker_processes 2; daemon off; pid {stage.folder}/nginx-{side}.pid;\n"
            f"error_log {stage.folder}/nginx.log;\nevents {{ worker_connections {2 * MOST}; }}\n"
            f"stream {{ tcp_nodelay on; server {{ listen {listen}; proxy_pass 127.0.0.1:{target}; {options} }} }}\n"
        )
        stage.start(["nginx", "-e", f"{stage.folder}/nginx.log", "-c", str(path)], peer="nginx")
    return here


def _stunnel(scene: Scene) -> int:
    stage = scene.stage
    here, there = stage.ports.ports(2)
    for side, client, certificate, accept, connect in (
        ("near", "yes", scene.near, here, there),
        ("far", "no", scene.far, there, scene.application),
    ):
        path = stage.folder / f"stunnel-{side}.conf"
        path.write_text(
            "foreground = yes\npid =\ndebug = 3\nsocket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
            f"cert = {certificate}\nCAfile = {scene.roots}\nverifyChain = yes\n"
            f"[{side}]\nclient = {client}\naccept = 127.0.0.1:{accept}\nconnect = 127.0.0.1:{connect}\n"
        )
        stage.start(["stunnel4", str(path)], peer="stunnel")
    return here


def _ghostunnel(scene: Scene, program: str) -> int:
    """With certificates of its own, of the same kind: its client insists on a host name in the server's."""
    stage = scene.stage
    here, there = stage.ports.ports(2)
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    roots, leaf = stage.folder / "ghostunnel-roots.pem", stage.folder / "ghostunnel.pem"
    authority.cert_pem.write_to_path(roots)
    leaf.touch(mode=0o600)
    authority.issue_cert(
        "localhost", key_type=trustme.KeyType.ECDSA
    ).private_key_and_cert_chain_pem.write_to_path(leaf)
    common = [f"--keystore={leaf}", f"--cacert={roots}"]
    near = ["client", f"--listen=localhost:{here}", f"--target=localhost:{there}"]
    far = ["server", f"--listen=localhost:{there}", f"--target=localhost:{scene.application}", "--allow-all"]
    for side in (near, far):
        stage.start([program, *side, *common], peer="ghostunnel")
    return here
