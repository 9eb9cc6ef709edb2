"""The visualiser: nodes of the cluster and the tasks on them, read from the Engine API through its socket."""

import html
import http.client
import json
import socket
import sys
from typing import Any

from line_protocol import TIMEOUT_SECONDS
from pages import Answer, healthy, page, serve

SOCKET = "/run/engine.sock"


class EngineConnection(http.client.HTTPConnection):
    """A connection to the Engine API on a Unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(SOCKET)


def engine(path: str) -> Any:
    """The decoded answer of the Engine API.

    Raises:
        OSError: the API does not answer with 200.
    """
    connection = EngineConnection("engine")
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        message = f"GET {path}: {answer.status} {body.decode(errors='replace')}"
        raise OSError(message)
    return json.loads(body)


def tasks_by_node() -> dict[str, list[str]]:
    """Running tasks by host name. On a host without a cluster: its containers.

    Raises:
        OSError: the API does not answer.
    """
    info = engine("/info")
    if info["Swarm"]["LocalNodeState"] != "active":
        return {info["Name"]: [names["Names"][0].lstrip("/") for names in engine("/containers/json")]}
    services = {service["ID"]: service["Spec"]["Name"] for service in engine("/services")}
    found: dict[str, list[str]] = {}
    hosts = {node["ID"]: node["Description"]["Hostname"] for node in engine("/nodes")}
    for host in sorted(hosts.values()):
        found[host] = []
    for task in engine("/tasks"):
        if task["Status"]["State"] == "running" and task["NodeID"] in hosts and task["ServiceID"] in services:
            found[hosts[task["NodeID"]]].append(f"{services[task['ServiceID']]}.{task.get('Slot', 0)}")
    return {host: sorted(tasks) for host, tasks in found.items()}


def answer(method: str, path: str, _: str) -> Answer:
    try:
        match method, path:
            case "GET", "/":
                lists = (
                    f"<h2>{html.escape(host)}</h2>\n<ul>{''.join(f'<li>{html.escape(task)}</li>' for task in tasks)}</ul>"
                    for host, tasks in tasks_by_node().items()
                )
                return page("Nodes and tasks", "\n".join(lists))
            case "GET", "/nodes":
                return Answer(200, "application/json", json.dumps(tasks_by_node()))
            case "GET", "/health":
                return Answer(200, "text/plain", "ok")
    except OSError as error:
        return Answer(503, "text/plain", f"{error}\n")
    return Answer(404, "text/plain", "no such page\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(not healthy())
    serve(answer)
