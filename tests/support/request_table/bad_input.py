"""Requests that are malformed: JSON, types, content types, encodings, names with odd characters."""

from tests.support.request_table.row import ANY, Row, get, post

BODIES: tuple[tuple[str, bytes], ...] = (
    ("empty body", b""),
    ("a broken object", b"{"),
    ("a word", b"nonsense"),
    ("a broken string", b'{"Name": "a'),
    ("a key without quotes", b"{Name: 1}"),
    ("a trailing comma", b'{"Name": "a",}'),
    ("a missing colon", b'{"Name" "a"}'),
    ("a missing comma", b'{"Name": "a" "b": 1}'),
    ("a list", b"[]"),
    ("a string", b'"text"'),
    ("a number", b"3"),
    ("true", b"true"),
    ("a bad escape", b'{"Name": "\\x"}'),
    ("a control character", b'{"Name": "\x01"}'),
    ("a bad number", b'{"Name": 01}'),
    ("single quotes", b"{'Name': 1}"),
    ("text after the value", b"{} x"),
    ("two objects", b"{}{}"),
    ("a number as a name", b'{"Name": 3}'),
    ("a list as a name", b'{"Name": []}'),
    ("an object as a name", b'{"Name": {}}'),
    ("true as a name", b'{"Name": true}'),
)


def _malformed(path: str) -> tuple[Row, ...]:
    return tuple(post(path, None, note, raw=body) for note, body in BODIES)


OUTSIDE_SWARM = (
    *_malformed("/volumes/create"),
    *_malformed("/networks/create"),
    *_malformed("/containers/create"),
    post("/volumes/create", None, "text/plain", raw=b"{}", content_type="text/plain"),
    post("/volumes/create", None, "no content type", raw=b"{}", content_type=None),
    post(
        "/volumes/create",
        None,
        "JSON with a charset",
        raw=b'{"Name": "charset"}',
        content_type="application/json; charset=utf-8",
    ),
    post("/volumes/create", None, "a content type that is none", raw=b"{}", content_type="wrong"),
    get("/containers/a%2Fb/json", "slash in a name"),
    get("/containers/a%0Ab/json", "newline in a name"),
    get("/containers/a%00b/json", "NUL in a name"),
    get("/volumes/a%00b", "NUL in a name"),
    get("/networks/a%00b", "NUL in a name"),
    get("/images/a%00b/json", "NUL in a name"),
    get("/containers/json", "limit that is no number", query={"limit": "x"}),
    get("/containers/json", "filters of a wrong type", query={"filters": '{"label": 3}'}),
    get("/containers/json", "filters as a list", query={"filters": '["label"]'}),
    get("/containers/json", "filters as a string", query={"filters": '"label"'}),
    get("/containers/json", "broken filters", query={"filters": '{"label":'}),
)

INSIDE_SWARM = (
    *_malformed("/services/create"),
    *_malformed("/secrets/create"),
    *_malformed("/configs/create"),
    post(
        "/services/create", {"Name": "x", "TaskTemplate": {"ContainerSpec": {"Image": 3}}}, "number in a nested field"
    ),
    post("/services/create", {"Name": "x", "TaskTemplate": {"ContainerSpec": {"Env": "A=b"}}}, "string for a list"),
    post("/services/create", {"Name": "x", "TaskTemplate": {"ContainerSpec": {"Env": [3]}}}, "number in a list"),
    post("/services/create", {"Name": "x", "Labels": []}, "list for a map"),
    post("/services/create", {"Name": "x", "Labels": {"a": 1}}, "number in a map"),
    post("/services/create", {"Name": "x", "Mode": {"Replicated": {"Replicas": "two"}}}, "string for a number"),
    post("/services/create", {"Name": "x", "Mode": {"Replicated": {"Replicas": 1.5}}}, "fraction"),
    post("/services/create", {"Name": "x", "TaskTemplate": {"ContainerSpec": {"TTY": "yes"}}}, "string for a boolean"),
    post("/services/create", {"Name": "x", "TaskTemplate": 3}, "number for an object"),
    post("/secrets/create", {"Name": "x", "Data": 3}, "number for bytes", message=ANY),
    post("/swarm/update", {"Name": 3}, "number for a name", query={"version": "1"}),
    post("/nodes/self/update", {"Role": 3}, "number for a role", query={"version": "1"}),
)
