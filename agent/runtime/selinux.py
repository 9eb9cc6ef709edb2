"""SELinux: whether this host uses it, the labels of a container's process and files, and relabelling of mounted files.

Invariant: a label that the kernel cannot apply is refused, never left out. Containers that ask for no label have none, as with
Docker's daemon unless it runs with --selinux-enabled. Called by `agent.container.bundle`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from covey.errors import InvalidArgumentError, UnsupportedError

DISABLE = "disable"
_NAMES = ("user", "role", "type", "level")
_FILE_TYPE = "filetype"
_CATEGORIES = 1024
_SHARED_LEVEL = "s0"
_ATTRIBUTE = "security.selinux"
_ENFORCE = Path("sys/fs/selinux/enforce")
_CONFIG = Path("etc/selinux/config")
_CONTEXTS = Path("contexts/lxc_contexts")
_NEVER = frozenset(("/", "/boot", "/dev", "/etc", "/home", "/lib", "/proc", "/root", "/sys", "/tmp", "/usr", "/var"))  # noqa: S108  refused


class SelinuxLabels(NamedTuple):
    """The labels of a container's process and of its files; empty for none."""

    process: str = ""
    mount: str = ""

    @property
    def shared_mount(self) -> str:
        """The label of files that several containers share (`z`)."""
        user, role, kind, _ = (self.mount.split(":", 3) + [""] * 4)[:4]
        return f"{user}:{role}:{kind}:{_SHARED_LEVEL}"


def labels(options: Sequence[str], container_id: str, root: Path = Path("/")) -> SelinuxLabels:
    """The labels that options such as `type:svirt_t` and `disable` ask for.

    Raises InvalidArgumentError in Docker's words for an option that is none, and UnsupportedError on a host without SELinux.
    """
    values = [(option, *_split(option)) for option in options if option != DISABLE]
    if not values or DISABLE in options:
        return SelinuxLabels()
    if not (root / _ENFORCE).exists():
        raise UnsupportedError(
            f"SecurityOpt label={values[0][0]}: the kernel of this host does not use SELinux; remove the option or use label=disable"
        )
    level = _level(container_id)
    process, file = (_fields(context, level) for context in _base_contexts(root))
    for _, name, value in values:
        if name == _FILE_TYPE:
            file["type"] = value
            continue
        process[name] = value
        if name in {"level", "user"}:
            file[name] = value
    return SelinuxLabels(":".join(process.values()), ":".join(file.values()))


def check_relabel(path: str) -> None:
    """Raises InvalidArgumentError in Docker's words for a directory of the host that must keep its labels."""
    if os.path.normpath(path) in _NEVER:
        raise InvalidArgumentError(f"SELinux relabeling of {path} is not allowed")


def relabel(path: Path, label: str) -> None:
    """Set the label of a file or of everything below a directory. Links are not followed. Blocking."""
    value = label.encode()
    os.setxattr(path, _ATTRIBUTE, value, follow_symlinks=False)
    if path.is_symlink() or not path.is_dir():
        return
    for folder, directories, files in os.walk(path):
        for name in (*directories, *files):
            os.setxattr(Path(folder, name), _ATTRIBUTE, value, follow_symlinks=False)


def _split(option: str) -> tuple[str, str]:
    name, colon, value = option.partition(":")
    if not colon:
        raise InvalidArgumentError(
            f"bad label option {option!r}, valid options 'disable' or 'user, role, level, type, filetype' "
            "followed by ':' and a value"
        )
    if name not in (*_NAMES, _FILE_TYPE):
        raise InvalidArgumentError(
            f"bad label option {name!r}, valid options 'disable, user, role, level, type, filetype'"
        )
    return name, value


def _base_contexts(root: Path) -> tuple[str, str]:
    """The contexts of container processes and files that the host's policy names."""
    settings = _assignments(root / _CONFIG)
    kind = settings.get("SELINUXTYPE", "targeted")
    path = root / "etc/selinux" / kind / _CONTEXTS
    found = _assignments(path)
    if not found.get("process") or not found.get("file"):
        raise UnsupportedError(
            f"the SELinux policy {kind} has no contexts for containers ({path}): install container-selinux, or use label=disable"
        )
    return found["process"], found["file"]


def _assignments(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip().strip('"') for name, equals, value in pairs if equals}


def _fields(context: str, level: str) -> dict[str, str]:
    parts = (context.split(":", 3) + [""] * len(_NAMES))[: len(_NAMES)]
    return {**dict(zip(_NAMES, parts, strict=True)), "level": level}


def _level(container_id: str) -> str:
    """Two categories that follow from the container's id, so that every start has the same and containers differ."""
    number = int.from_bytes(hashlib.sha256(container_id.encode()).digest()[:8])
    first, second = number % _CATEGORIES, number // _CATEGORIES % (_CATEGORIES - 1)
    second += second >= first
    return f"{_SHARED_LEVEL}:c{min(first, second)},c{max(first, second)}"
