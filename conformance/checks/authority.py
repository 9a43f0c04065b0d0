"""The certificate authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509

from conformance.checks._situations import accepted
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("authority/lifetime/01")
def check_leaf_lifetime(lab: Lab) -> None:
    """Fetch the leaf of a service from an agent that was told nothing about lifetimes.

    It is valid now and for 72 hours. Source: catalogue.
    """
    agent = lab.agent(definitions=[lab.service("web")])
    pem = lab.until(
        "authority",
        lambda: accepted(agent.api.get("/v1/agent/connect/ca/leaf/web")).json["CertPEM"],
        what="the leaf of web is issued",
    )
    certificate = x509.load_pem_x509_certificate(pem.encode())
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc <= now
    remaining = certificate.not_valid_after_utc - now
    assert timedelta(hours=71, minutes=50) < remaining < timedelta(hours=72, minutes=10)
