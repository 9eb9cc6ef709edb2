"""Registries that demand credentials: htpasswd over TLS, and bearer tokens, through the real docker client."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent.image.registry.registries_config import RegistriesConfig
from tests.support.api_daemon import Daemon, running
from tests.support.image_archives import image, write_archive
from tests.support.registry import PASSWORD, USER, TestRegistry, registry
from tests.support.token_server import TokenServer, token_server

pytestmark = [pytest.mark.root, pytest.mark.asyncio(loop_scope="module")]

APP = image({"etc/one": b"one"})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    folder = tmp_path_factory.mktemp("daemon")
    async with running(folder) as made:
        made.agent.registries.configure(RegistriesConfig(certs_dirs=(str(folder / "certs.d"),)))
        await made.docker("load", "-i", str(write_archive(folder / "app.tar", APP, "app:1")))
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tls_registry(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRegistry]:
    async with registry(tmp_path_factory.mktemp("tls"), tls=True, password=True) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tokens(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TokenServer]:
    async with token_server(tmp_path_factory.mktemp("tokens")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def token_registry(tmp_path_factory: pytest.TempPathFactory, tokens: TokenServer) -> AsyncIterator[TestRegistry]:
    async with registry(tmp_path_factory.mktemp("bearer"), token_realm=(tokens.realm, tokens.bundle)) as made:
        yield made


class Client:
    """The docker client with a home of its own, where it keeps its logins."""

    def __init__(self, daemon: Daemon, home: Path) -> None:
        self._daemon, self._home = daemon, home

    async def __call__(self, *args: str, stdin: bytes = b"", check: int = 0) -> tuple[str, str]:
        return await self._daemon.docker("--config", str(self._home), *args, stdin=stdin, check=check)

    async def login(self, host: str, password: str = PASSWORD, check: int = 0) -> tuple[str, str]:
        return await self("login", "-u", USER, "--password-stdin", host, stdin=password.encode(), check=check)


@pytest.fixture
def docker(daemon: Daemon, tmp_path: Path) -> Client:
    return Client(daemon, tmp_path / "home")


def auth_header(**fields: str) -> dict[str, str]:
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()}


async def test_a_password_registry_over_tls_serves_a_user_after_login_only(
    daemon: Daemon, docker: Client, tls_registry: TestRegistry, tmp_path: Path
) -> None:
    host, folder = tls_registry.host, Path(daemon.agent.registries.config.certs_dirs[0])
    assert tls_registry.ca is not None
    target = folder / host
    target.mkdir(parents=True)
    await asyncio.to_thread((target / "ca.crt").write_bytes, tls_registry.ca.read_bytes())
    _, err = await docker.login(host, "wrong", check=1)
    assert "failed with status: 401 Unauthorized" in err
    await docker("tag", "app:1", f"{host}/team/app:1")
    out, _ = await docker("push", f"{host}/team/app:1", check=1)
    assert "no basic auth credentials" in out + _
    out, _ = await docker.login(host)
    assert "Login Succeeded" in out
    await docker("push", f"{host}/team/app:1")
    await docker("rmi", f"{host}/team/app:1")
    out, _ = await docker("pull", f"{host}/team/app:1")
    assert "Digest: sha256:" in out
    assert APP.id in (await docker("images", "-q", "--no-trunc", f"{host}/team/app"))[0]
    _, err = await docker("logout", host)
    _, err = await docker("pull", f"{host}/team/app:1", check=1)
    assert "no basic auth credentials" in err
    status, body = await daemon.request(
        "POST", f"/images/create?fromImage={host}/team/app&tag=1", headers=auth_header(username=USER, password="bad")
    )
    assert (status, body["message"]) == (500, "unauthorized: authentication required")


async def test_plain_http_and_unknown_certificates_are_trusted_on_loopback_as_docker_does(
    docker: Client, tls_registry: TestRegistry
) -> None:
    """127.0.0.0/8 is insecure by default: its certificate is not verified. Other hosts' are."""
    await docker.login(tls_registry.host)


async def test_bearer_tokens_are_fetched_for_the_scope_of_each_request(
    daemon: Daemon, docker: Client, token_registry: TestRegistry, tokens: TokenServer
) -> None:
    host = token_registry.host
    await docker("tag", "app:1", f"{host}/public/app:1")
    _, err = await docker("push", f"{host}/public/app:1", check=1)
    assert "denied" in err or "unauthorized" in err
    await docker.login(host)
    tokens.requests.clear()
    await docker("push", f"{host}/public/app:1")
    assert tokens.requests[0] == {"grant": "refresh_token", "scope": "repository:public/app:pull,push"}
    await docker("logout", host)
    await docker("rmi", f"{host}/public/app:1")
    await docker("pull", f"{host}/public/app:1")
    assert tokens.requests[-1] == {"scope": ["repository:public/app:pull"]}
    _, err = await docker("pull", f"{host}/private/app:1", check=1)
    assert "pull access denied" in err or "unauthorized" in err


async def test_a_login_with_tokens_gives_an_identity_token_that_works_alone(
    daemon: Daemon, docker: Client, token_registry: TestRegistry, tokens: TokenServer
) -> None:
    host = token_registry.host
    login = {"username": USER, "password": PASSWORD, "serveraddress": host}
    status, body = await daemon.request("POST", "/auth", json=login)
    assert (status, body) == (200, {"Status": "Login Succeeded", "IdentityToken": tokens.identity_token})
    await docker("tag", "app:1", f"{host}/private/token:1")
    header = auth_header(identitytoken=tokens.identity_token, username="<token>")
    path = f"/images/{host}/private/token/push?tag=1"
    async with daemon.session() as session, session.post(path, headers=header) as response:
        assert response.status == 200
        assert "errorDetail" not in await response.text()
    assert str(tokens.requests[-1]["scope"]).startswith("repository:private/token:pull,push")
    status, body = await daemon.request("GET", f"/distribution/{host}/private/token:1/json", headers=header)
    assert status == 200
    login["password"] = "wrong"
    status, body = await daemon.request("POST", "/auth", json=login)
    assert status == 401
