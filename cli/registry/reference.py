"""Names of images: ``busybox:1`` means ``docker.io/library/busybox:1``. Pure."""

import re
from typing import NamedTuple

from covey.errors import InvalidArgumentError

DOCKER_HUB = "docker.io"
# The key of Docker Hub's credentials in the configuration file.
HUB_KEY = "https://index.docker.io/v1/"
_LEGACY_HUB = "index.docker.io"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")
_DOMAIN = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?"
)


class Reference(NamedTuple):
    """The registry, the repository, and a tag, a digest, both or none of them."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The full name without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: without the parts that Docker Hub's images may leave out."""
        if self.registry != DOCKER_HUB:
            return self.name
        return self.repository.removeprefix("library/") if self.repository.count("/") == 1 else self.repository

    @property
    def familiar(self) -> str:
        """The familiar name with the tag and the digest."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.familiar_name}{tag}{digest}"

    @property
    def credentials_key(self) -> str:
        """The key of the registry's credentials in the configuration file."""
        return HUB_KEY if self.registry == DOCKER_HUB else self.registry


def parse_reference(text: str) -> Reference:
    """The parts of an image's name.

    Raises:
        InvalidArgumentError: it is no name of an image.
    """
    rest, _, digest = text.partition("@")
    head, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        head, tag = rest, ""
    registry, slash, repository = head.partition("/")
    if not slash or not (set(".:") & set(registry) or registry == "localhost" or registry.lower() != registry):
        registry, repository = DOCKER_HUB, head
    if registry == _LEGACY_HUB:
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    if repository.lower() != repository:
        raise InvalidArgumentError(f"invalid reference format: repository name ({repository}) must be lowercase")
    wrong_tag = (bool(colon) and "/" not in text.rpartition(":")[2] and not digest and not tag) or (
        tag and not _TAG.fullmatch(tag)
    )
    if (
        wrong_tag
        or not _PATH.fullmatch(repository)
        or not _DOMAIN.fullmatch(registry)
        or ("@" in text and not _DIGEST.fullmatch(digest))
    ):
        raise InvalidArgumentError(f"invalid reference format: {text!r}")
    return Reference(registry, repository, tag, digest)


def registry_key(server: str) -> str:
    """The key of a registry in the configuration file, from what a user calls it."""
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0]
    if host in ("", DOCKER_HUB, _LEGACY_HUB, "registry-1.docker.io"):
        return HUB_KEY
    return host
