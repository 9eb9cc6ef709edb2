"""What every client meets first: versions, unknown paths, wrong methods, broken bodies, ping, info."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.interfaces import LocalNodeState
from engine.routes import TABLE
from tests.support.api_daemon import Daemon, running


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with running(tmp_path) as made:
        yield made


async def test_ping_tells_versions_and_membership_in_headers(daemon: Daemon) -> None:
    async with daemon.session() as session:
        for method in ("GET", "HEAD"):
            async with session.request(method, "/_ping") as response:
                assert response.status == 200
                assert response.headers["Api-Version"] == "1.50"
                assert response.headers["Docker-Experimental"] == "false"
                assert response.headers["Swarm"] == "inactive"
                assert response.headers["Builder-Version"] == "1"
                assert await response.text() == ("OK" if method == "GET" else "")
        daemon.node.become_manager()
        async with session.get("/_ping") as response:
            assert response.headers["Swarm"] == "active/manager"
        daemon.node.is_manager = False
        async with session.get("/_ping") as response:
            assert response.headers["Swarm"] == "active/worker"


@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.41", "/v1.50"])
async def test_every_version_from_the_oldest_to_the_newest_is_supported(daemon: Daemon, prefix: str) -> None:
    status, body = await daemon.request("GET", f"{prefix}/version")
    assert status == 200
    assert body["ApiVersion"] == "1.50"
    assert body["MinAPIVersion"] == "1.24"


async def test_a_version_outside_the_range_is_refused_in_dockers_words(daemon: Daemon) -> None:
    assert await daemon.request("GET", "/v1.51/info") == (
        400, {"message": "client version 1.51 is too new. Maximum supported API version is 1.50"},
    )  # fmt: skip
    status, body = await daemon.request("GET", "/v1.23/info")
    assert status == 400
    assert "client version 1.23 is too old. Minimum supported API version is 1.24" in body["message"]


async def test_an_unknown_path_and_a_wrong_method_are_404(daemon: Daemon) -> None:
    assert await daemon.request("GET", "/v1.50/nothing/here") == (404, {"message": "page not found"})
    assert await daemon.request("PUT", "/v1.50/info") == (404, {"message": "page not found"})


async def test_a_trailing_slash_is_the_same_path(daemon: Daemon) -> None:
    status, body = await daemon.request("GET", "/v1.50/networks/")
    assert status == 200
    assert [network["Name"] for network in body] == ["bridge", "host", "none"]
    assert (await daemon.request("GET", "/v1.50/networks/none/"))[1]["Driver"] == "null"


async def test_a_name_with_an_escaped_slash_or_newline_is_looked_up(daemon: Daemon) -> None:
    assert await daemon.request("GET", "/v1.50/containers/a%2Fb/json") == (404, {"message": "No such container: a/b"})
    assert await daemon.request("GET", "/v1.50/containers/a%0Ab/json") == (404, {"message": "No such container: a\nb"})


@pytest.mark.parametrize(
    ("body", "sentence"),
    [(b"", "got EOF while reading request body"), (b"{nope", "invalid JSON"), (b"[1]", "cannot unmarshal array")],
)
async def test_a_broken_body_is_400_with_a_sentence(daemon: Daemon, body: bytes, sentence: str) -> None:
    await daemon.form_cluster()
    status, answer = await daemon.request(
        "POST", "/v1.50/services/create", data=body, headers={"Content-Type": "application/json"}
    )
    assert status == 400
    assert sentence in answer["message"]


async def test_an_unknown_filter_is_named(daemon: Daemon) -> None:
    await daemon.form_cluster()
    for path in ("/services", "/nodes", "/tasks", "/secrets", "/configs", "/networks", "/containers/json", "/volumes"):
        status, body = await daemon.request("GET", path, params={"filters": '{"colour":["red"]}'})
        assert (status, body) == (400, {"message": "invalid filter 'colour'"}), path
        status, body = await daemon.request("GET", path, params={"filters": "nonsense"})
        assert status == 400, path


async def test_an_unsupported_feature_answers_501_and_names_its_route(daemon: Daemon) -> None:
    for method, path, words in (("POST", "/session", "POST /session"),):
        status, body = await daemon.request(method, path)
        assert status == 501, path
        assert words in body["message"]


async def test_every_route_of_the_specification_is_known() -> None:
    """The list is the specification's, so that nothing in it is answered ``page not found``."""
    missing = [(method, path) for method, path in SPECIFIED if TABLE.find(method, path) is None]
    assert missing == []
    wrong = [(method, path) for method, path in SPECIFIED if TABLE.find(method, path).handler is None]
    assert wrong == []


async def test_the_docker_client_shows_version_and_info(daemon: Daemon) -> None:
    out, _ = await daemon.docker("version", "--format", "{{.Server.Version}} {{.Server.APIVersion}}")
    assert out.split()[1] == "1.50"
    out, _ = await daemon.docker("info", "--format", "{{json .}}")
    assert '"LocalNodeState":"inactive"' in out
    assert '"ServerErrors"' not in out
    await daemon.form_cluster()
    out, _ = await daemon.docker("info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.Nodes}} {{.Swarm.Managers}}")
    assert out.split() == ["active", "1", "1"]


async def test_the_sdk_shows_version_and_info(daemon: Daemon) -> None:
    info = await daemon.sdk(lambda client: client.info())
    assert info["Name"] == "host-1"
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert await daemon.sdk(lambda client: client.ping()) is True


@pytest.mark.parametrize(
    ("state", "manager", "sentence"),
    [
        (LocalNodeState.INACTIVE, False, 'This node is not a swarm manager. Use "docker swarm init"'),
        (LocalNodeState.ACTIVE, False, "Worker nodes can't be used to view or modify cluster state."),
        (LocalNodeState.LOCKED, False, "Swarm is encrypted and needs to be unlocked"),
    ],
)
async def test_a_node_that_is_no_manager_refuses_the_cluster_in_dockers_words(
    daemon: Daemon, state: LocalNodeState, manager: bool, sentence: str
) -> None:
    daemon.node.state, daemon.node.is_manager = state, manager
    for path in ("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs", "/nodes/x", "/services/x/logs"):
        status, body = await daemon.request("GET", path)
        assert status == 503, path
        assert sentence in body["message"]


SPECIFIED = [
    (method, path)
    for method, path in (
        line.split()
        for line in """
GET /containers/json
POST /containers/create
GET /containers/x/json
GET /containers/x/top
GET /containers/x/logs
GET /containers/x/changes
GET /containers/x/export
GET /containers/x/stats
POST /containers/x/resize
POST /containers/x/start
POST /containers/x/stop
POST /containers/x/restart
POST /containers/x/kill
POST /containers/x/update
POST /containers/x/rename
POST /containers/x/pause
POST /containers/x/unpause
POST /containers/x/attach
POST /containers/x/wait
DELETE /containers/x
HEAD /containers/x/archive
GET /containers/x/archive
PUT /containers/x/archive
POST /containers/prune
GET /images/json
POST /build
POST /build/prune
POST /images/create
GET /images/a/b/json
GET /images/a/b/history
POST /images/a/b/push
POST /images/a/b/tag
DELETE /images/a/b
GET /images/search
POST /images/prune
POST /auth
GET /info
GET /version
GET /_ping
HEAD /_ping
POST /commit
GET /events
GET /system/df
GET /images/a/b/get
GET /images/get
POST /images/load
POST /containers/x/exec
POST /exec/x/start
POST /exec/x/resize
GET /exec/x/json
GET /volumes
POST /volumes/create
GET /volumes/x
PUT /volumes/x
DELETE /volumes/x
POST /volumes/prune
GET /networks
GET /networks/x
DELETE /networks/x
POST /networks/create
POST /networks/x/connect
POST /networks/x/disconnect
POST /networks/prune
GET /plugins
GET /plugins/privileges
POST /plugins/pull
GET /plugins/x/json
DELETE /plugins/x
POST /plugins/x/enable
POST /plugins/x/disable
POST /plugins/x/upgrade
POST /plugins/create
POST /plugins/x/push
POST /plugins/x/set
GET /nodes
GET /nodes/x
DELETE /nodes/x
POST /nodes/x/update
GET /swarm
POST /swarm/init
POST /swarm/join
POST /swarm/leave
POST /swarm/update
GET /swarm/unlockkey
POST /swarm/unlock
GET /services
POST /services/create
GET /services/x
DELETE /services/x
POST /services/x/update
GET /services/x/logs
GET /tasks
GET /tasks/x
GET /tasks/x/logs
GET /secrets
POST /secrets/create
GET /secrets/x
DELETE /secrets/x
POST /secrets/x/update
GET /configs
POST /configs/create
GET /configs/x
DELETE /configs/x
POST /configs/x/update
GET /distribution/a/b/json
POST /session
""".strip().splitlines()
    )
]
