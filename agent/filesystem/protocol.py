"""Messages between the daemon and the worker process for container files: one request, JSON lines as answers. Pure.

Both sides always come from one installation, so the format has no version: a message is the JSON array of its fields.

Invariant: only the standard library is imported here. Every `docker cp` starts the worker two or three times, and the import
of msgspec would be half of its start.
"""

import json
from typing import NamedTuple

LAYER_BLOB = "layer.tar"
"""Name of the blob that `layer` writes into its staging folder."""


class ViewMount(NamedTuple):
    """A mount of a stopped container: the host's `source`, or `subpath` below it, is shown at `target`."""

    source: str
    target: str
    read_only: bool = False
    subpath: str = ""


class StoppedView(NamedTuple):
    """The file system of a container that does not run: its directory, its image's layers (base first), and its mounts.

    `hidden_below` is the directory of all containers; the worker detaches the mounts of others, so that it does not pin them.
    """

    folder: str
    layers: tuple[str, ...]
    hidden_below: str
    read_only: bool = False
    mounts: tuple[ViewMount, ...] = ()


class FileRequest(NamedTuple):
    """One request.

    `action` is `stat`, `read` (a path as tar), `write` (unpack a tar below a path), `export`, `changes` or `layer`. The view is
    `stopped`, or the descriptor `root_fd` of the root directory of a running container. `layer` writes the changed files as a
    layer into `staging`.
    """

    action: str
    container: str
    """Name for messages."""
    path: str = "/"
    root_fd: int = -1
    socket_fd: int = -1
    """Of `read` and `export`: the client's socket, which gets the tar as chunks of HTTP after one byte on stdin."""
    stopped: StoppedView | None = None
    keep_kinds: bool = False
    """Refuse to replace a directory by another kind of file, and the other way round."""
    owner: str | None = None
    """Unpacked files belong to this user of the container ("" for root), not to the ids in the tar."""
    upper: str = ""
    layers: tuple[str, ...] = ()
    """Of `changes` and `layer`: the image's layers, topmost first."""
    staging: str = ""
    chain_id: str = ""
    """Chain id of the image's layers, "" if it has none."""
    known_layers: tuple[str, ...] = ()
    """Chain ids that need no unpacking."""


class PathStat(NamedTuple):
    """What Docker tells of a path. `mode` has the bits of Go's FileMode. `link_target` is absolute."""

    name: str
    size: int
    mode: int
    mtime_ns: int
    link_target: str = ""


class FileChange(NamedTuple):
    """A path that differs from the image: `kind` is 0 (modified), 1 (added) or 2 (deleted)."""

    path: str
    kind: int


class WrittenLayer(NamedTuple):
    """A layer of a commit; the fields are those of `StagedLayer`."""

    digest: str
    diff_id: str
    chain_id: str
    content_bytes: int = 0
    unpacked: str = ""


class FileMessage(NamedTuple):
    """One answer: `stat` before the data of a `read`, and as the last one `done` or an error."""

    stat: PathStat | None = None
    changes: tuple[FileChange, ...] = ()
    layer: WrittenLayer | None = None
    done: bool = False
    error: str = ""
    error_kind: str = ""


def encode(message: FileRequest | FileMessage) -> bytes:
    """The message as one line without its end."""
    return json.dumps(message).encode()


def decode_request(data: bytes) -> FileRequest:
    """A request that `encode` made."""
    request = FileRequest(*json.loads(data))
    stopped = None
    if request.stopped is not None:
        view = StoppedView(*request.stopped)
        mounts = tuple(ViewMount(*mount) for mount in view.mounts)
        stopped = view._replace(layers=tuple(view.layers), mounts=mounts)
    return request._replace(stopped=stopped, layers=tuple(request.layers), known_layers=tuple(request.known_layers))
