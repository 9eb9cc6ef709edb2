"""Validation of names and labels, with Docker's messages. Pure; called by the validation of each kind of object."""

import re

from covey.errors import InvalidArgumentError, TooLargeError
from covey.objects import Annotations

MAX_SERVICE_NAME = 63
MAX_SECRET_NAME = 64
MAX_LABEL_BYTES = 64 * 1024
_DNS_NAME = re.compile(r"[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*")
_FILE_NAME = re.compile(r"[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?")
_NETWORK_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")


def require_service_name(annotations: Annotations) -> None:
    require_labels(annotations)
    if not annotations.name:
        raise InvalidArgumentError("meta: name must be provided")
    if not _DNS_NAME.fullmatch(annotations.name):
        raise InvalidArgumentError("name must be valid as a DNS name component")
    if len(annotations.name) > MAX_SERVICE_NAME:
        raise InvalidArgumentError(f"name must be {MAX_SERVICE_NAME} characters or fewer")


def require_secret_name(annotations: Annotations) -> None:
    """Refuses an invalid name of a secret or config."""
    require_labels(annotations)
    if not annotations.name:
        raise InvalidArgumentError("name must be provided")
    if len(annotations.name) > MAX_SECRET_NAME or not _FILE_NAME.fullmatch(annotations.name):
        raise InvalidArgumentError(
            f"invalid name, only {MAX_SECRET_NAME} [a-zA-Z0-9-_.] characters allowed, "
            "and the start and end character must be [a-zA-Z0-9]"
        )


def require_network_name(annotations: Annotations) -> None:
    require_labels(annotations)
    if not annotations.name:
        raise InvalidArgumentError("meta: name must be provided")
    if len(annotations.name) > MAX_SERVICE_NAME or not _NETWORK_NAME.fullmatch(annotations.name):
        raise InvalidArgumentError(
            "name must be valid as a DNS name component; "
            f"use [a-zA-Z0-9][a-zA-Z0-9_.-] for a network, up to {MAX_SERVICE_NAME} characters"
        )


def require_labels(annotations: Annotations) -> None:
    if any(not key for key in annotations.labels):
        raise InvalidArgumentError("a label's key must not be empty")
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.labels.items())
    if size > MAX_LABEL_BYTES:
        raise TooLargeError(f"the labels have {size} bytes, the limit is {MAX_LABEL_BYTES}")
