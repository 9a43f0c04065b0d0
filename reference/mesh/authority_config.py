"""What an authority is told: the ``Config`` of ``/v1/connect/ca/configuration``, and ``connect.ca_config`` in files.

Options are known by the original's names regardless of case and underscores; others are kept and mean nothing. As
in the original there is one provider, ``consul``, and a period of rotation is remembered without effect: a root
changes when its key or its certificate does (MP-CA-006, MP-CA-007).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from reference.config.durations import parse_duration
from reference.secretive import Secretive

if TYPE_CHECKING:
    from reference.mesh.certificates import Issuer, SigningKey

PROVIDER = "consul"
#: What stands for a private key in answers, and for "the same key as before" in what comes back.
HIDDEN = "hidden"

_SHORTEST_LEAF = timedelta(hours=1)
_LONGEST_LEAF = timedelta(days=365)
_DEFAULT_LEAF = timedelta(hours=72)
_DEFAULT_CSR_RATE = 50.0


class ConfigurationRefused(ValueError):
    """The authority cannot be told this; ``option`` is the one at fault, the text never holds a key."""

    def __init__(self, option: str, text: str) -> None:
        super().__init__(text)
        self.option = option


class AuthorityConfig(Secretive, frozen=True, kw_only=True):
    """What holds. ``options`` is what was said, word for word, or None; the rest is what it means.

    ``csr_max_per_second`` spreads the renewals after a rotation, 0 for not at all.
    """

    UNSHOWN = frozenset({"options", "private_key"})

    options: Mapping[str, object] | None = None
    leaf_life: timedelta = _DEFAULT_LEAF
    private_key: str = ""
    root_cert: str = ""
    csr_max_per_second: float = _DEFAULT_CSR_RATE

    @property
    def shown(self) -> Mapping[str, object] | None:
        """The options for readers: without the private key (MP-CA-006, CVE-2020-28053)."""
        if self.options is None:
            return None
        return {
            name: HIDDEN if value and _known(name) == "privatekey" else value
            for name, value in self.options.items()
        }

    @property
    def digest(self) -> str:
        """A fingerprint of the options, which tells whether they were changed and does not tell the key."""
        encoded = msgspec.json.encode(self.options, order="deterministic")
        return hashlib.sha256(encoded).hexdigest()

    @property
    def pair(self) -> tuple[str, str]:
        """What makes the root: another pair is another root."""
        return self.private_key.strip(), self.root_cert.strip()

    def with_key(self, private_key: str) -> AuthorityConfig:
        """The same with this private key."""
        given = {
            name: private_key if _known(name) == "privatekey" else value
            for name, value in (self.options or {}).items()
        }
        return parse(given)

    def issuer(self, *, now: datetime) -> Issuer | SigningKey | None:
        """The given root, or the key for which one is to be made, or None where nothing was given.

        Raises :class:`ConfigurationRefused` for a key or a root that cannot be used.
        """
        if not self.private_key:
            return None
        from reference.mesh import certificates  # see reference.mesh.mesh

        try:
            key = certificates.read_key(self.private_key)
            return certificates.read_root(self.root_cert, key, now=now) if self.root_cert else key
        except certificates.PrivateKeyError as error:
            raise ConfigurationRefused("private_key", f"error parsing private key: {error}") from None
        except certificates.RootError as error:
            raise ConfigurationRefused("root_cert", f"error parsing root cert: {error}") from None


def parse(options: Mapping[str, object] | None) -> AuthorityConfig:
    """The meaning of ``options``. Raises :class:`ConfigurationRefused` in the original's words (MP-CA-004)."""
    given = {_known(name): value for name, value in (options or {}).items() if value is not None}
    leaf_life = _duration(given, "LeafCertTTL", "leaf_cert_ttl", _DEFAULT_LEAF)
    if leaf_life < _SHORTEST_LEAF:
        raise ConfigurationRefused("leaf_cert_ttl", "leaf cert TTL must be greater than 1h")
    if leaf_life > _LONGEST_LEAF:
        raise ConfigurationRefused("leaf_cert_ttl", "leaf cert TTL must be less than 1 year")
    _duration(given, "RotationPeriod", "rotation_period", timedelta())
    _number(given, "CSRMaxConcurrent", "csr_max_concurrent", 0)
    private_key, root_cert = (_text(given, name) for name in ("PrivateKey", "RootCert"))
    if root_cert and not private_key:
        raise ConfigurationRefused("root_cert", "must provide a private key when providing a root cert")
    return AuthorityConfig(
        options=options,
        leaf_life=leaf_life,
        private_key=private_key,
        root_cert=root_cert,
        csr_max_per_second=_number(given, "CSRMaxPerSecond", "csr_max_per_second", _DEFAULT_CSR_RATE),
    )


def _known(name: str) -> str:
    return name.replace("_", "").lower()


def _text(given: Mapping[str, object], name: str) -> str:
    value = given.get(_known(name), "")
    if not isinstance(value, str):
        option = {"PrivateKey": "private_key"}.get(name, "root_cert")
        raise ConfigurationRefused(option, f"error decoding config: '{name}' expected type 'string'")
    return value


def _duration(given: Mapping[str, object], name: str, option: str, default: timedelta) -> timedelta:
    value = given.get(_known(name))
    if value is None:
        return default
    try:
        if isinstance(value, str):
            return timedelta(seconds=parse_duration(value))
        # The original counts nanoseconds.
        return timedelta(seconds=float(value) / 1e9)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        problem = f"* error decoding '{name}': time: invalid duration \"{value}\""
        raise ConfigurationRefused(
            option, f"error decoding config: 1 error(s) decoding:\n\n{problem}"
        ) from None


def _number(given: Mapping[str, object], name: str, option: str, default: float) -> float:
    value = given.get(_known(name), default)
    try:
        return float(value)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        problem = f"* cannot parse '{name}' as float: parsing \"{value}\": invalid syntax"
        raise ConfigurationRefused(
            option, f"error decoding config: 1 error(s) decoding:\n\n{problem}"
        ) from None


#: What an authority is told where nobody says otherwise.
DEFAULT = parse({"LeafCertTTL": "72h", "RotationPeriod": "2160h"})
