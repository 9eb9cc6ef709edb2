"""Names of images, and credentials in the configuration file and in helpers."""

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from cli.registry.credentials import CredentialStore, encode
from cli.registry.reference import HUB_KEY, Reference, parse_reference, registry_key
from covey.errors import CoveyError, InvalidArgumentError

DIGEST = "sha256:" + "ab" * 32
HELPER = """#!/usr/bin/env python3
import json, pathlib, sys
kept = pathlib.Path(__file__).with_name("kept")
store = json.loads(kept.read_text()) if kept.exists() else {}
text = sys.stdin.read()
if sys.argv[1] == "store":
    item = json.loads(text)
    store[item["ServerURL"]] = item
elif text not in store:
    print("credentials not found in native keychain")
    sys.exit(1)
elif sys.argv[1] == "get":
    print(json.dumps(store[text]))
else:
    del store[text]
kept.write_text(json.dumps(store))
"""


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("busybox", Reference("docker.io", "library/busybox")),
        ("busybox:1", Reference("docker.io", "library/busybox", "1")),
        ("user/app", Reference("docker.io", "user/app")),
        ("docker.io/app", Reference("docker.io", "library/app")),
        ("index.docker.io/user/app", Reference("docker.io", "user/app")),
        ("localhost/app:x", Reference("localhost", "app", "x")),
        ("host:5000/a/b_c/d--e:v1.2", Reference("host:5000", "a/b_c/d--e", "v1.2")),
        ("[::1]:5000/a", Reference("[::1]:5000", "a")),
        (f"r.test/a:1@{DIGEST}", Reference("r.test", "a", "1", DIGEST)),
        ("Host/app", Reference("Host", "app")),
    ],
)
def test_names_of_images(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference
    assert parse_reference(reference.familiar) == reference


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a/UPPER", "a:", "a:-x", "a@sha256:12", "a@", "-a", "a//b", "a b", "r.test/", "a:1:2", "../a"]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgumentError, match="invalid reference format"):
        parse_reference(text)


def test_registries_have_one_key_whatever_they_are_called() -> None:
    assert {registry_key(name) for name in ("", "docker.io", "index.docker.io", HUB_KEY)} == {HUB_KEY}
    assert {registry_key(name) for name in ("r.test:5000", "https://r.test:5000/v1/", "http://r.test:5000")} == {
        "r.test:5000"
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "made" / "config.json"


def written(path: Path, config: dict[str, Any]) -> CredentialStore:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(config))
    return CredentialStore(path)


def test_credentials_are_kept_in_the_file_beside_what_is_there(file: Path) -> None:
    store = written(file, {"detachKeys": "ctrl-a", "auths": {"other": {"auth": "YTpi"}}})
    assert store.put("r.test", {"username": "me", "password": "p:w"}) == ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = json.loads(file.read_text())
    assert kept["detachKeys"] == "ctrl-a"
    assert base64.b64decode(kept["auths"]["r.test"]["auth"]) == b"me:p:w"
    again = CredentialStore(file)
    assert again.get("r.test") == {"username": "me", "password": "p:w", "serveraddress": "r.test"}
    assert set(again.all()) == {"other", "r.test"}
    assert again.remove("r.test")
    assert not again.remove("r.test")
    assert CredentialStore(file).get("r.test") == {}


def test_without_a_file_there_are_no_credentials(file: Path) -> None:
    store = CredentialStore(file)
    assert store.header("r.test") == {"X-Registry-Auth": "e30="}
    store.put("r.test", {"username": "me", "identitytoken": "t"})
    assert CredentialStore(file).get("r.test")["identitytoken"] == "t"


def test_credentials_of_a_registry_are_found_under_its_url(file: Path) -> None:
    store = written(file, {"auths": {"https://r.test/v1/": {"auth": "YTpi"}}})
    assert store.get("r.test")["username"] == "a"


def test_a_damaged_file_is_refused_and_stays(file: Path) -> None:
    file.parent.mkdir()
    for text in ("{", "[]", '"x"'):
        file.write_text(text)
        with pytest.raises(InvalidArgumentError, match=r"config\.json"):
            CredentialStore(file)
        assert file.read_text() == text
    store = written(file, {"auths": {"r.test": {"auth": "no base64"}}})
    with pytest.raises(InvalidArgumentError, match="log in again"):
        store.get("r.test")


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    program = tmp_path / "docker-credential-test"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return "test"


@pytest.mark.parametrize("choice", [{"credsStore": "test"}, {"credHelpers": {"r.test": "test"}}], ids=["all", "one"])
def test_a_helper_keeps_credentials_out_of_the_file(file: Path, helper: str, choice: dict[str, Any]) -> None:
    store = written(file, choice)
    assert store.get("r.test") == {}
    assert store.put("r.test", {"username": "me", "password": "pw"}) == helper
    assert "pw" not in file.read_text()
    assert json.loads(file.read_text())["auths"] == {"r.test": {}}
    again = CredentialStore(file)
    assert again.get("r.test") == {"username": "me", "password": "pw", "serveraddress": "r.test"}
    assert again.remove("r.test")
    assert again.get("r.test") == {}
    again.put("r.test", {"username": "me", "identitytoken": "token"})
    assert again.get("r.test") == {"identitytoken": "token", "serveraddress": "r.test"}


def test_a_missing_helper_is_named(file: Path) -> None:
    store = written(file, {"credsStore": "no-such-helper"})
    with pytest.raises(CoveyError, match="docker-credential-no-such-helper is not installed"):
        store.get("r.test")


def test_the_header_is_json_in_the_url_alphabet() -> None:
    text = encode({"username": "ÿÿÿ?", "password": ">>>"})
    assert json.loads(base64.urlsafe_b64decode(text)) == {"username": "ÿÿÿ?", "password": ">>>"}
    assert not set("+/") & set(text)
