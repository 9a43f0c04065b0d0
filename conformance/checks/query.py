"""Prepared query upstreams."""

from __future__ import annotations

from conformance.checks._situations import only, proxy_config
from conformance.plugin.lab import Lab
from conformance.plugin.marks import requirement


@requirement("query/config/01")
def check_query_upstreams_reach_the_proxy(lab: Lab) -> None:
    """Give one managed proxy an upstream of type ``prepared_query``, and another one the same in the legacy place.

    Both proxies are told the type. Source: document, Prepared Query Upstreams.
    """
    upstream = {
        "destination_name": "nearest-redis",
        "destination_type": "prepared_query",
        "local_bind_port": 1234,
    }
    command = ["/bin/sleep", "600"]
    agent = lab.agent(
        definitions=[
            lab.service("new", proxy={"command": command, "upstreams": [upstream]}),
            lab.service("old", proxy={"command": command, "config": {"upstreams": [upstream]}}),
        ]
    )
    for proxy_id in ("new-proxy", "old-proxy"):
        told = only(proxy_config(agent, proxy_id)["Upstreams"])
        assert told["DestinationName"] == "nearest-redis"
        assert told["DestinationType"] == "prepared_query"
