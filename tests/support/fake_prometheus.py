"""A Prometheus of tests: answers each query with the number in a file. Arguments: port, file."""

from __future__ import annotations

import json
import select
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        result = [{"metric": {}, "value": [0, Path(sys.argv[2]).read_text()]}]
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Silence."""


def main() -> None:
    with HTTPServer(("0.0.0.0", int(sys.argv[1])), Handler) as server:
        print("serves", flush=True)
        while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
            server.handle_request()


if __name__ == "__main__":
    main()
