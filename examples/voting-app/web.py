"""The web server: a ballot, its results, and the number of visits. Votes go into the cache's queue."""

import html
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from line_protocol import ask
from pages import Answer, healthy, page, serve

BALLOT = json.loads(Path("/etc/ballot.json").read_text()) if "--check" not in sys.argv else {}


def answer(method: str, path: str, body: str) -> Answer:
    try:
        match method, path:
            case "GET", "/":
                ask("cache:6000", "INCR visits")
                return ballot_page(results())
            case "GET", "/results":
                return Answer(200, "application/json", json.dumps(results()))
            case "GET", "/health":
                return Answer(200, "text/plain", "ok")
            case "POST", "/vote":
                return vote(body)
    except OSError as error:
        return Answer(503, "text/plain", f"a part of the application does not answer: {error}\n")
    return Answer(404, "text/plain", "no such page\n")


def vote(body: str) -> Answer:
    choice = parse_qs(body).get("choice", [""])[0]
    if choice not in BALLOT["choices"]:
        return Answer(400, "text/plain", f"{choice!r} is not on the ballot\n")
    ask("cache:6000", f"PUSH votes {choice}")
    return Answer(303, "text/plain", "thank you\n", location="/")


def results() -> dict[str, Any]:
    """Votes by choice, visits since the cache started, and who answers.

    Raises:
        OSError: the cache or the database does not answer, or refuses.
    """
    password = Path("/run/secrets/database_password").read_text().strip()
    counts = ask("database:7000", f"COUNTS {password}")
    if counts.startswith("ERR"):
        raise OSError(counts)
    found = json.loads(counts)
    return {
        "votes": {choice: found.get(choice, 0) for choice in BALLOT["choices"]},
        "visits": int(ask("cache:6000", "COUNT visits")),
        "version": os.environ.get("VERSION", ""),
        "served_by": socket.gethostname(),
    }


def ballot_page(found: dict[str, Any]) -> Answer:
    buttons = "\n".join(
        f'<p><button name="choice" value="{html.escape(choice)}">{html.escape(choice)}</button> {count} votes</p>'
        for choice, count in found["votes"].items()
    )
    about = f"<p>{found['visits']} visits. Version {html.escape(found['version'])}, served by {html.escape(found['served_by'])}</p>"
    return page(html.escape(BALLOT["title"]), f'<form method="post" action="/vote">\n{buttons}\n</form>\n{about}')


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(not healthy())
    serve(answer)
