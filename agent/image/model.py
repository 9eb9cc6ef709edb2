"""Types of images: the image as the agent and the engine see it, and the OCI image config in its blob. Pure.

Docker and OCI write the same config with a mix of nulls and absent keys. Here both become the empty value.
"""

from collections.abc import Mapping

import msgspec

from covey.errors import InvalidArgumentError


class ImageHealthcheck(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    """How to probe a container. Durations are in nanoseconds, 0 means inherit."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class ImageConfig(msgspec.Struct, frozen=True):
    """Defaults of the containers of an image. `None` where absent differs from empty."""

    user: str = ""
    exposed_ports: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    volumes: tuple[str, ...] = ()
    working_dir: str = ""
    labels: Mapping[str, str] = {}
    stop_signal: str = ""
    healthcheck: ImageHealthcheck | None = None
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()


class HistoryEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One build step of an image. `created` is RFC 3339."""

    created: str | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class Image(msgspec.Struct, frozen=True):
    """One image. `id` is the digest of its config, with `sha256:`. Tags are in the short form, `busybox:latest`."""

    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    created: str
    size: int
    architecture: str
    os: str
    config: ImageConfig
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...] = ()
    layer_sizes: tuple[int, ...] = ()
    variant: str = ""
    author: str = ""
    comment: str = ""
    parent: str = ""
    last_tagged: str = ""


class Progress(msgspec.Struct, frozen=True):
    """One line of progress of long work. `id` is a short layer id or a tag, `total` is 0 when it is unknown.

    A `heading` has no counts, but an id.
    """

    status: str
    id: str = ""
    current: int = 0
    total: int = 0
    aux: Mapping[str, str | int] | None = None
    heading: bool = False


class ImageRemoval(msgspec.Struct, frozen=True):
    """One effect of an image removal, as Docker reports it. Exactly one field is set."""

    untagged: str = ""
    deleted: str = ""


class CommitRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An image to make of a container's changes. `created_by` is the step in the history."""

    container: str
    image_id: str
    config: ImageConfig
    tag: str = ""
    author: str = ""
    comment: str = ""
    created_by: str = ""


class PulledImage(msgspec.Struct, frozen=True):
    """A pulled image. `digest` is what the registry's tag names: an index or a manifest."""

    image_id: str
    digest: str
    is_new: bool


class PushedImage(msgspec.Struct, frozen=True):
    """A pushed tag with the digest of its manifest in the registry."""

    image_id: str
    tag: str
    digest: str


class RemoteImage(msgspec.Struct, frozen=True):
    """What a registry has under a name: the manifest or index, and the platforms it is for."""

    media_type: str
    digest: str
    size: int
    platforms: tuple[tuple[str, str, str], ...] = ()


class SearchResult(msgspec.Struct, frozen=True):
    """An image that a search found."""

    name: str = ""
    description: str = ""
    is_official: bool = False
    is_automated: bool = False
    star_count: int = 0


class _RawContainerConfig(msgspec.Struct, rename="pascal", omit_defaults=True):
    user: str | None = None
    exposed_ports: dict[str, dict[str, object] | None] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    volumes: dict[str, dict[str, object] | None] | None = None
    working_dir: str | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    healthcheck: ImageHealthcheck | None = None
    shell: list[str] | None = None
    on_build: list[str] | None = None


class OciRootfs(msgspec.Struct):
    type: str = "layers"
    diff_ids: list[str] | None = None


class OciImageConfig(msgspec.Struct, omit_defaults=True):
    """An OCI image config as in its blob."""

    architecture: str = ""
    os: str = ""
    variant: str = ""
    created: str | None = None
    author: str | None = None
    comment: str | None = None
    config: _RawContainerConfig | None = None
    rootfs: OciRootfs | None = None
    history: list[HistoryEntry] | None = None

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The digests of the uncompressed layers, bottom first."""
        return tuple(self.rootfs.diff_ids or ()) if self.rootfs else ()


def decode_config(data: bytes, name: str) -> OciImageConfig:
    """Parse an image config. Raises InvalidArgumentError that names the blob."""
    try:
        return msgspec.json.decode(data, type=OciImageConfig)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidArgumentError(f"the image config {name} is not an OCI image config: {error}") from None


def container_config(raw: OciImageConfig) -> ImageConfig:
    """The container defaults of a config, with empty values instead of nulls."""
    config = raw.config or _RawContainerConfig()
    return ImageConfig(
        user=config.user or "",
        exposed_ports=tuple(sorted(config.exposed_ports or ())),
        env=tuple(config.env or ()),
        entrypoint=None if config.entrypoint is None else tuple(config.entrypoint),
        cmd=None if config.cmd is None else tuple(config.cmd),
        volumes=tuple(sorted(config.volumes or ())),
        working_dir=config.working_dir or "",
        labels=dict(config.labels or {}),
        stop_signal=config.stop_signal or "",
        healthcheck=config.healthcheck,
        shell=tuple(config.shell or ()),
        on_build=tuple(config.on_build or ()),
    )


def encode_config(image: OciImageConfig, config: ImageConfig) -> bytes:
    """The config blob of a new image: `image` with the container defaults `config`. Equal input gives equal bytes."""
    raw = _RawContainerConfig(
        user=config.user or None,
        exposed_ports={port: {} for port in config.exposed_ports} or None,
        env=list(config.env) or None,
        entrypoint=None if config.entrypoint is None else list(config.entrypoint),
        cmd=None if config.cmd is None else list(config.cmd),
        volumes={path: {} for path in config.volumes} or None,
        working_dir=config.working_dir or None,
        labels=dict(config.labels) or None,
        stop_signal=config.stop_signal or None,
        healthcheck=config.healthcheck,
        shell=list(config.shell) or None,
        on_build=list(config.on_build) or None,
    )
    return msgspec.json.encode(msgspec.structs.replace(image, config=raw), order="sorted")


def build_image(
    image_id: str,
    raw: OciImageConfig,
    *,
    tags: tuple[str, ...] = (),
    layer_sizes: tuple[int, ...] = (),
    last_tagged: str = "",
    parent: str = "",
) -> Image:
    """Build an image from its config and its metadata."""
    return Image(
        id=image_id,
        repo_tags=tags,
        repo_digests=(),
        created=raw.created or "",
        size=sum(layer_sizes),
        architecture=raw.architecture,
        os=raw.os,
        config=container_config(raw),
        diff_ids=raw.diff_ids,
        history=tuple(raw.history or ()),
        layer_sizes=layer_sizes,
        variant=raw.variant,
        author=raw.author or "",
        comment=raw.comment or "",
        last_tagged=last_tagged,
        parent=parent,
    )
