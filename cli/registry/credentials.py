"""Credentials of registries: in the configuration file, or in the keeper of a ``docker-credential-NAME`` helper.

Which of them holds a registry's credentials is the file's choice: ``credHelpers`` by registry, else ``credsStore``, else ``auths``.
"""

import base64
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli import config_file
from cli.registry.reference import registry_key
from covey.errors import CoveyError, InvalidArgumentError

HELPER_SECONDS = 60.0
TOKEN_USER = "<token>"  # noqa: S105 - the word by which helpers mark an identity token
_NOT_FOUND = "credentials not found"
Auth = dict[str, Any]


class CredentialStore:
    """Reads, writes and removes credentials by the registry's key."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or config_file.config_path()
        self._config = config_file.load(self.path)

    def get(self, key: str) -> Auth:
        """The credentials of a registry as the API takes them; empty if there are none."""
        helper = self._helper(key)
        if helper:
            found = _ask(helper, "get", key)
            if found is None:
                return {}
            if found.get("Username") == TOKEN_USER:
                return {"identitytoken": found.get("Secret", ""), "serveraddress": key}
            return {"username": found.get("Username", ""), "password": found.get("Secret", ""), "serveraddress": key}
        return self._from_file(key)

    def put(self, key: str, auth: Mapping[str, str]) -> str:
        """Keep credentials. Returns the helper that keeps them; empty if it is the file, unencrypted."""
        helper = self._helper(key)
        token = auth.get("identitytoken", "")
        entry: Auth = {}
        if helper:
            secret = {"ServerURL": key, "Username": TOKEN_USER if token else auth.get("username", "")}
            _ask(helper, "store", json.dumps({**secret, "Secret": token or auth.get("password", "")}))
        else:
            pair = f"{auth.get('username', '')}:{'' if token else auth.get('password', '')}"
            entry["auth"] = base64.b64encode(pair.encode()).decode()
            if token:
                entry["identitytoken"] = token
        self._config.setdefault("auths", {})[key] = entry
        config_file.save(self.path, self._config)
        return helper

    def remove(self, key: str) -> bool:
        """Forget credentials. False if there were none."""
        auths = self._config.get("auths") or {}
        helper = self._helper(key)
        keys = [name for name in auths if registry_key(name) == registry_key(key)]
        if helper:
            _ask(helper, "erase", key)
        for name in keys:
            del auths[name]
        if keys:
            config_file.save(self.path, self._config)
        return bool(keys)

    def all(self) -> dict[str, Auth]:
        """The credentials of every registry that the file names."""
        names = {*(self._config.get("auths") or {}), *(self._config.get("credHelpers") or {})}
        return {name: auth for name in sorted(names) if (auth := self.get(name))}

    def header(self, key: str) -> dict[str, str]:
        """The header X-Registry-Auth of a request that concerns a registry."""
        return {"X-Registry-Auth": encode(self.get(key))}

    def _helper(self, key: str) -> str:
        helpers = self._config.get("credHelpers") or {}
        return str(helpers.get(key) or self._config.get("credsStore") or "")

    def _from_file(self, key: str) -> Auth:
        auths = self._config.get("auths") or {}
        entry = auths.get(key)
        if entry is None:
            entry = next((value for name, value in auths.items() if registry_key(name) == registry_key(key)), None)
        if not isinstance(entry, dict) or not entry:
            return {}
        auth: Auth = {"serveraddress": key}
        if entry.get("auth"):
            auth["username"], auth["password"] = self._decode(key, str(entry["auth"]))
        for name in ("username", "password", "identitytoken", "registrytoken"):
            if entry.get(name):
                auth[name] = entry[name]
        return auth

    def _decode(self, key: str, text: str) -> tuple[str, str]:
        try:
            user, separator, password = base64.b64decode(text, validate=True).decode().partition(":")
        except ValueError:
            user, separator, password = "", "", ""
        if not separator:
            raise InvalidArgumentError(f"the credentials of {key} in {self.path} are damaged: log in again")
        return user, password.strip("\x00")


def encode(auth: Mapping[str, Any]) -> str:
    """Credentials as the headers of the API take them."""
    return base64.urlsafe_b64encode(json.dumps(auth, separators=(",", ":")).encode()).decode()


def _ask(helper: str, verb: str, text: str) -> Auth | None:
    """What a credential helper answers; None if it has nothing.

    Raises:
        CoveyError: it is missing, fails or does not answer in time.
    """
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, verb], input=text, capture_output=True, text=True, check=False, timeout=HELPER_SECONDS
        )
    except FileNotFoundError:
        raise CoveyError(f"the credential helper {program} is not installed; the configuration file names it") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CoveyError(f"the credential helper {program} failed: {error}") from error
    if done.returncode:
        said = (done.stdout or done.stderr).strip()
        if verb in ("get", "erase") and _NOT_FOUND in said:
            return None
        raise CoveyError(f"the credential helper {program} failed: {said or done.returncode}")
    if verb != "get":
        return {}
    try:
        found = json.loads(done.stdout)
    except ValueError as error:
        raise CoveyError(f"the credential helper {program} did not answer with JSON") from error
    return found if isinstance(found, dict) else {}
