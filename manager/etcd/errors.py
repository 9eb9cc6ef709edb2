"""Errors of etcd calls, and their mapping from gRPC statuses."""

from __future__ import annotations

import grpc
from grpc import aio

from covey.errors import CoveyError, PermissionDeniedError, TooLargeError, UnavailableError


class NoAnswerError(UnavailableError):
    """No answer, or one that leaves open whether the request took effect: another endpoint may know more."""


class DatabaseFullError(UnavailableError):
    """The database is full. The request is answered and will not take effect later; but etcd looks at its quota after it has carried a
    transaction out, too, so it may have taken effect already.
    """


class RevisionCompactedError(CoveyError):
    """The revision that was asked for is no more."""


class MessageTooLargeError(TooLargeError):
    """A request or its answer is larger than a side takes in one message: the same will not do again."""


class HistoryChangedError(CoveyError):
    """etcd stands before a revision that it once told: it was restored from an older snapshot."""


class LeaseLostError(CoveyError):
    """The lease is no more."""


_COMPACTED = "required revision has been compacted"
_FUTURE = "required revision is a future revision"
_FULL = "database space exceeded"
_MESSAGE = "message larger than max"


def error_of(failure: aio.AioRpcError, endpoint: str) -> CoveyError:
    """What a failed call says. Whatever is not known to have been refused may have taken effect: LostError."""
    code, details = failure.code(), failure.details() or ""
    if _COMPACTED in details:
        return RevisionCompactedError(f"etcd: {details}")
    if _FUTURE in details:
        return HistoryChangedError(f"etcd: {details}")
    if code is grpc.StatusCode.NOT_FOUND and "lease" in details:
        return LeaseLostError(f"etcd: {details}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _FULL in details:
        return DatabaseFullError(
            "etcd refuses writes, its database is full: compact and defragment it, or raise its quota, then run 'etcdctl alarm disarm'"
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _MESSAGE in details:
        return MessageTooLargeError(f"etcd at {endpoint}: {details}")
    if code is grpc.StatusCode.INVALID_ARGUMENT and ("too large" in details or "too many operations" in details):
        return TooLargeError(
            f"etcd at {endpoint} refuses the transaction ({details}): it must allow 128 operations and 1.5 MiB"
        )
    if code in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED} or "user name is empty" in details:
        return PermissionDeniedError(
            f"etcd at {endpoint} refuses this manager ({details}): give it a certificate with --store-cert"
        )
    return NoAnswerError(f"etcd at {endpoint} does not answer: {details or code.name.lower()}")
