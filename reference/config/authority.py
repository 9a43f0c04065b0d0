"""``connect.ca_provider`` and ``connect.ca_config``: what the certificate authority of the mesh is told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from reference.config.settings import Settings
from reference.mesh.authority_config import AuthorityConfig, ConfigurationRefused, parse

_SECTION = "connect.ca_config"
#: The options of the built-in provider by their keys in files, with their names in the API.
_NAMES: Mapping[str, str] = {
    "leaf_cert_ttl": "LeafCertTTL",
    "rotation_period": "RotationPeriod",
    "private_key": "PrivateKey",
    "root_cert": "RootCert",
    "csr_max_per_second": "CSRMaxPerSecond",
    "csr_max_concurrent": "CSRMaxConcurrent",
}
_REMEDIES: Mapping[str, str] = {
    "leaf_cert_ttl": 'Give 1h to 8760h, as in "72h"',
    "private_key": "Give the PEM text itself of an EC (P-256) or RSA key, not a path",
    "root_cert": "Give the PEM text itself of the self-signed certificate that belongs to private_key",
}


def authority(settings: Settings) -> AuthorityConfig:
    """What the options amount to. Raises :class:`~reference.config.errors.ConfigError`."""
    provider = settings.get("connect.ca_provider")
    if provider == "vault":
        problem = "the CA provider vault is not supported by this agent"
        raise settings.error("connect.ca_provider", problem, 'Use "consul"')
    if provider not in ("", "consul"):
        raise settings.error("connect.ca_provider", f"{provider} is not a valid CA provider", 'Use "consul"')
    given = settings.get(_SECTION, {})
    try:
        config = parse({name: given[key] for key, name in _NAMES.items() if key in given})
        config.issuer(now=datetime.now(UTC))
    except ConfigurationRefused as error:
        name = f"{_SECTION}.{error.option}"
        remedy = _REMEDIES.get(error.option, "Correct its value")
        raise settings.error(name, f"{name}: {error}", remedy) from None
    return config
