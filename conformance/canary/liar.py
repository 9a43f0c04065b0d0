"""An agent that lies: it answers as if it were one, and knows nothing of what it was given.

The canary of each run is a check that must fail on it. It needs nothing but the interpreter, and is handed over as
source on the command line, so that any user can execute it.
"""

from __future__ import annotations

import inspect
import shlex
import sys


def lie(flags: list[str]) -> None:
    """Be an agent without any service, whatever the definitions are."""
    import http.server
    import json

    with open(flags[flags.index("-config-file") + 1]) as file:
        port = json.load(file)["ports"]["http"]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path.startswith("/v1/agent/")
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(b'{"Config": {"Version": "canary"}}' if self.path.endswith("/self") else b"{}")

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()


#: The command line that starts it.
COMMAND = shlex.join(
    [
        sys.executable,
        *("-I", "-S", "-c"),
        f"from __future__ import annotations\nimport sys\n{inspect.getsource(lie)}\nlie(sys.argv[1:])",
    ]
)
