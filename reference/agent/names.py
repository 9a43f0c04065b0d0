"""The spelling of fields in the original's JSON: CamelCase with Go's capitals for initialisms."""

from __future__ import annotations

_INITIALISMS = {"api": "API", "ca": "CA", "id": "ID", "ns": "NS", "pem": "PEM", "uri": "URI"}


def go_name(field: str) -> str:
    """The JSON key of a field.

    >>> go_name("proxy_service_id"), go_name("cert_pem"), go_name("kind")
    ('ProxyServiceID', 'CertPEM', 'Kind')
    """
    return "".join(_INITIALISMS.get(word, word.capitalize()) for word in field.split("_"))
