"""Parser of image references: `busybox` means `docker.io/library/busybox:latest`. Pure.

The grammar is that of the distribution project: `[domain/]path[:tag][@digest]`. The first component is a domain when it
has a dot or a colon, is `localhost`, or has an upper-case letter.
"""

import re

import msgspec

from covey.errors import InvalidArgumentError

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_HEX_ID = re.compile(r"[a-f0-9]{64}")


class Reference(msgspec.Struct, frozen=True, order=True):
    """A parsed reference. `tag` and `digest` are empty when the text had none and no default was requested."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """`docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name in Docker's short form: `busybox`, `team/app`, `registry:5000/app`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        rest = self.path.removeprefix("library/")
        return self.path if "/" in rest else rest

    @property
    def familiar(self) -> str:
        """The short form with tag and digest: `busybox:latest`."""
        return self.familiar_name + self._suffix()

    def with_default_tag(self) -> "Reference":
        """The same reference, with the tag `latest` if it has neither tag nor digest."""
        if self.tag or self.digest:
            return self
        return Reference(self.domain, self.path, DEFAULT_TAG)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def parse(text: str) -> Reference:
    """Parse a reference, without a default tag. Raises InvalidArgumentError with the reason."""
    rest, _, digest = text.partition("@")
    if digest and not _DIGEST.fullmatch(digest):
        raise _invalid(text, f'the digest "{digest}" is not sha256: and 64 hexadecimal digits')
    if "@" in text and not digest:
        raise _invalid(text, "nothing follows the @")
    head, colon, tail = rest.rpartition(":")
    name, tag = (head, tail) if colon and "/" not in tail else (rest, "")
    if colon and "/" not in tail and not _TAG.fullmatch(tag):
        raise _invalid(text, f'the tag "{tag}" may hold only letters, digits, "_", "." and "-", at most 128')
    if _HEX_ID.fullmatch(name):
        raise _invalid(text, "64 hexadecimal digits are an image id, not a name")
    domain, path = _split_domain(name)
    if not _DOMAIN.fullmatch(domain):
        raise _invalid(text, f'"{domain}" is not a registry host')
    if any(letter.isupper() for letter in path):
        raise InvalidArgumentError(f"invalid reference format: repository name ({path}) must be lowercase")
    if not _PATH.fullmatch(path):
        raise _invalid(text, "a name is lower-case letters and digits, joined by single . _ / or by -")
    if len(domain) + 1 + len(path) > NAME_LIMIT:
        raise _invalid(text, f"the name is longer than {NAME_LIMIT} characters")
    return Reference(domain, path, tag, digest)


def parse_tagged(text: str) -> Reference:
    """Parse a reference for use as a tag: with `latest` by default, and without a digest."""
    reference = parse(text)
    if reference.digest:
        raise InvalidArgumentError("refusing to create a tag with a digest reference; remove the @sha256:...")
    return reference.with_default_tag()


def is_image_id(text: str) -> bool:
    """True when the text is a full image id, with or without `sha256:`."""
    return bool(_DIGEST.fullmatch(text) or _HEX_ID.fullmatch(text))


def is_digest(text: str) -> bool:
    """True when the text is a full sha256 digest."""
    return bool(_DIGEST.fullmatch(text))


def _split_domain(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_domain = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    domain, path = (first, rest) if is_domain else (DEFAULT_DOMAIN, name)
    if domain in {"index.docker.io", "registry-1.docker.io"}:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = f"library/{path}"
    return domain, path


def _invalid(text: str, reason: str) -> InvalidArgumentError:
    return InvalidArgumentError(f'invalid reference format; "{text}": {reason}')
