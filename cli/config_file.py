"""The client's configuration file, ``config.json`` in DOCKER_CONFIG or ``~/.docker``: shared with docker, so other keys are kept.

Invariant: the file is replaced in one step, readable by its owner only. A file that is no JSON object is refused, never overwritten.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from covey.errors import InvalidArgumentError

PROXIES = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The path of the configuration file."""
    directory = environment.get("DOCKER_CONFIG")
    return (Path(directory) if directory else Path.home() / ".docker") / "config.json"


def load(path: Path) -> dict[str, Any]:
    """The configuration; empty if there is no file.

    Raises:
        InvalidArgumentError: the file cannot be read or is no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8") or "{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InvalidArgumentError(f"cannot read the configuration file {path}: {error}") from error
    if not isinstance(found, dict):
        raise InvalidArgumentError(f"the configuration file {path} is no JSON object")
    return found


def proxy_variables(config: Mapping[str, Any], host: str) -> dict[str, str]:
    """The variables that a new container gets for the proxies of the configuration: those of the daemon's address, else the default."""
    proxies = config.get("proxies") or {}
    chosen = proxies.get(host) or proxies.get("default") or {}
    variables = {}
    for key, name in PROXIES.items():
        if chosen.get(key):
            variables[name] = variables[name.lower()] = str(chosen[key])
    return variables


def save(path: Path, config: Mapping[str, Any]) -> None:
    """Replace the file.

    Raises:
        InvalidArgumentError: it cannot be written.
    """
    target = path.resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=".config.", delete=False) as file:
            fresh = Path(file.name)
            try:
                json.dump(config, file, indent="\t", ensure_ascii=False)
                file.flush()
                os.fchmod(file.fileno(), 0o600)
                fresh.rename(target)
            except BaseException:
                fresh.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise InvalidArgumentError(f"cannot write the configuration file {path}: {error.strerror}") from error
