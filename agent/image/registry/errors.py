"""Errors of registries: their JSON error bodies in Docker's words, and what they mean to the caller of a pull. Pure."""

import msgspec

from covey.errors import CoveyError, NotFoundError, UnsupportedError
from covey.image_reference import Reference

TEXT_LIMIT = 300


class RegistryError(CoveyError):
    """The registry could not be reached, or its answer is unusable."""


class RegistryConnectionError(RegistryError):
    """The registry could not be reached, or the connection broke. Another endpoint or a later try may succeed."""


class RegistryContentError(RegistryError):
    """The registry sent content that does not match its digest, its length or its type."""


class RegistryStatusError(RegistryError):
    """The registry answered with an error. `code` is its own code in lower case, such as `manifest unknown`."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class _Error(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Errors(msgspec.Struct):
    errors: list[_Error] = []
    details: str = ""


def status_error(status: int, reason: str, body: bytes) -> RegistryStatusError:
    """The error of a response, in the registry's own words where it has any."""
    try:
        parsed = msgspec.json.decode(body, type=_Errors)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        parsed = _Errors()
    if not parsed.errors:
        code = {401: "unauthorized", 403: "denied", 429: "toomanyrequests"}.get(status, "")
        words = {
            401: "unauthorized: authentication required",
            403: "denied: requested access to the resource is denied",
        }.get(status)
        text = _printable(parsed.details)
        return RegistryStatusError(
            words or f"received unexpected HTTP status: {status} {_printable(reason)}{': ' if text else ''}{text}",
            status,
            code,
        )
    first = parsed.errors[0]
    code = _printable(first.code).replace("_", " ").lower()
    message = _printable(first.message) or code
    return RegistryStatusError(f"{code}: {message}" if code else message, status, code)


def manifest_unknown() -> RegistryStatusError:
    return RegistryStatusError("manifest unknown: manifest unknown", 404, "manifest unknown")


def pull_error(error: CoveyError, reference: Reference) -> CoveyError:
    """What a failed pull means to its caller: Docker reports refused and unknown images as not found."""
    if not isinstance(error, RegistryStatusError):
        return error
    if error.code == "denied":
        return NotFoundError(
            f"pull access denied for {reference.familiar_name}, repository does not exist or may require 'docker login': "
            f"{error.message}"
        )
    if error.code == "manifest unknown" or (error.status == 404 and not error.code):
        words = error.message if error.code else manifest_unknown().message
        return NotFoundError(f"manifest for {reference.familiar} not found: {words}")
    if error.code == "name unknown":
        return NotFoundError(f"repository {reference.familiar_name} not found: {error.message}")
    return error


def unsupported_media_type(media_type: str, what: str) -> UnsupportedError:
    if "distribution.manifest.v1" in media_type:
        return UnsupportedError(
            f"{what} is a schema 1 manifest ({media_type}), which is no longer supported; "
            "ask its author to publish it in the OCI or Docker schema 2 format"
        )
    return UnsupportedError(f'{what} has the media type "{_printable(media_type)}", which is not a container image')


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:TEXT_LIMIT]).strip()
