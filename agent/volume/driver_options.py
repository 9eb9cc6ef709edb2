"""Options of the local volume driver (`type`, `o`, `device`): their check, and the mount that they describe. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from covey.errors import InvalidArgumentError

_KNOWN = ("device", "o", "size", "type")
_REQUIRED = {"device": ("type",), "type": ("device",), "o": ("device", "type")}
_REMOTE_TYPES = frozenset({"nfs", "nfs4", "cifs", "smb3"})
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_SYNCHRONOUS, _MS_DIRSYNC = 1, 2, 4, 8, 16, 128
_MS_NOATIME, _MS_NODIRATIME, _MS_BIND, _MS_REC, _MS_RELATIME, _MS_STRICTATIME = (
    1024,
    2048,
    4096,
    16384,
    1 << 21,
    1 << 24,
)
_FLAGS: dict[str, tuple[int, int]] = {
    "defaults": (0, 0),
    "ro": (_MS_RDONLY, 0),
    "rw": (0, _MS_RDONLY),
    "nosuid": (_MS_NOSUID, 0),
    "suid": (0, _MS_NOSUID),
    "nodev": (_MS_NODEV, 0),
    "dev": (0, _MS_NODEV),
    "noexec": (_MS_NOEXEC, 0),
    "exec": (0, _MS_NOEXEC),
    "sync": (_MS_SYNCHRONOUS, 0),
    "async": (0, _MS_SYNCHRONOUS),
    "dirsync": (_MS_DIRSYNC, 0),
    "noatime": (_MS_NOATIME, 0),
    "atime": (0, _MS_NOATIME),
    "nodiratime": (_MS_NODIRATIME, 0),
    "diratime": (0, _MS_NODIRATIME),
    "relatime": (_MS_RELATIME, 0),
    "norelatime": (0, _MS_RELATIME),
    "strictatime": (_MS_STRICTATIME, 0),
    "bind": (_MS_BIND, 0),
    "rbind": (_MS_BIND | _MS_REC, 0),
}
"""Words of `o` that are mount flags: the bits that each sets and clears."""


class VolumeMount(NamedTuple):
    """A mount(2) call. `loop` asks for a loop device on the file `device`."""

    device: str
    fs_type: str
    flags: int
    data: str
    loop: bool = False

    @property
    def is_bind(self) -> bool:
        return bool(self.flags & _MS_BIND)

    @property
    def is_remote(self) -> bool:
        """Whether a server takes part, which may be slow or away."""
        return self.fs_type in _REMOTE_TYPES

    @property
    def server(self) -> str:
        """The name in `addr=`, which the kernel takes only as an address; "" if there is none."""
        return next((o.removeprefix("addr=") for o in self.data.split(",") if o.startswith("addr=")), "")


def check_options(name: str, options: Mapping[str, str]) -> None:
    """Raises InvalidArgumentError in Docker's words, which name the volume."""
    for option in options:
        if option not in _KNOWN:
            raise InvalidArgumentError(f'create {name}: invalid option: "{option}"')
    for option, others in _REQUIRED.items():
        missing = next((other for other in others if not options.get(other)), "") if option in options else ""
        if missing:
            raise InvalidArgumentError(f'create {name}: missing required option: "{missing}"')
    if options.get("size"):
        raise InvalidArgumentError(f"create {name}: quota size requested but no quota support")


def plan_mount(options: Mapping[str, str]) -> VolumeMount | None:
    """The mount that the options describe. None for a plain directory."""
    if not options.get("device"):
        return None
    flags, data, loop = 0, [], False
    for word in filter(None, options.get("o", "").split(",")):
        if word == "loop":
            loop = True
        elif word in _FLAGS:
            added, removed = _FLAGS[word]
            flags = flags & ~removed | added
        else:
            data.append(word)
    return VolumeMount(options["device"], options.get("type", ""), flags, ",".join(data), loop)
