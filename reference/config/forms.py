"""Texts that must have a certain form, whatever they mean: what is wrong with one, in the original's words.

Each function gives the problem, or the empty string. :data:`~reference.config.schema.AGENT` says which option has
which form, so that an impossible value is found in its file, also where this agent makes no use of it.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid

from reference.config.durations import parse_duration

#: Cipher suites by the original's names, with those of OpenSSL. What no OpenSSL of today has is kept out.
CIPHER_SUITES = {
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
}


def duration(raw: str) -> str:
    """A duration such as ``1h30m``."""
    try:
        parse_duration(raw)
    except ValueError:
        return f'invalid duration: "{raw}"'
    return ""


def network(raw: str) -> str:
    """A network in CIDR form."""
    try:
        ipaddress.ip_network(raw.strip(), strict=False)
    except ValueError:
        return f"invalid cidr: {raw}"
    return "" if "/" in raw else f"invalid cidr: {raw}"


def cipher_suites(raw: str) -> str:
    """Cipher suites by name, separated by commas."""
    for name in raw.strip().split(",") if raw.strip() else ():
        if name not in CIPHER_SUITES:
            return f'invalid tls cipher suites: unsupported cipher "{name}"'
    return ""


def tls_version(raw: str) -> str:
    """The lowest version of TLS; 1.3 came after the original."""
    known = ("", "tls10", "tls11", "tls12", "tls13")
    return "" if raw in known else f"value {raw} not supported, please specify one of [tls10,tls11,tls12]"


def file_mode(raw: str) -> str:
    """Permissions in octal digits."""
    return "" if re.fullmatch("[0-7]{0,4}", raw) else f"invalid mode specified: {raw}"


def base64_key(raw: str) -> str:
    """Bytes in base64. The value is a secret."""
    try:
        base64.b64decode(raw, validate=True)
    except (binascii.Error, ValueError):
        return "has invalid key: illegal base64 data"
    return ""


def node_id(raw: str) -> str:
    """A UUID, or nothing."""
    try:
        return "" if not raw or str(uuid.UUID(raw)) == raw.lower() else f'"{raw}" is not a UUID'
    except ValueError:
        return f'"{raw}" is not a UUID'
