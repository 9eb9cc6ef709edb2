"""Errors of etcd calls, and their mapping from gRPC statuses.

A status of etcd has a code and a sentence, nothing else. The code decides where etcd uses it for one error only. Where a code has several
meanings (RESOURCE_EXHAUSTED, INVALID_ARGUMENT), the sentence decides, as in etcd's own client: no other field tells them apart.
"""

from __future__ import annotations

import grpc
from grpc import aio

from covey.errors import CoveyError, PermissionDeniedError, TooLargeError, UnavailableError

_Code = grpc.StatusCode


class NoAnswerError(UnavailableError):
    """No answer, or one that does not tell whether the request took effect. Another endpoint may know more."""


class DatabaseFullError(UnavailableError):
    """The database of etcd is full. The request will not take effect later, but it may have already: etcd checks its quota after it has
    executed a transaction, too.
    """


class RevisionUnavailableError(CoveyError):
    """etcd does not have the requested revision: it was compacted, or a restored etcd has not reached it."""


class MessageTooLargeError(TooLargeError):
    """A request or its answer exceeds the message limit of one side. The same request fails again."""


class HistoryChangedError(CoveyError):
    """etcd has another history than this manager has applied: it was restored from a snapshot."""


class LeaseLostError(CoveyError):
    """The lease does not exist any more."""


def error_of(failure: aio.AioRpcError, endpoint: str) -> CoveyError:
    """The error for a failed call. A failure that etcd does not refuse for certain may have taken effect: NoAnswerError."""
    code, details = failure.code(), failure.details() or ""
    match code:
        case _Code.OUT_OF_RANGE:
            return RevisionUnavailableError(f"etcd: {details}")
        case _Code.NOT_FOUND:
            return LeaseLostError(f"etcd: {details}")
        case _Code.RESOURCE_EXHAUSTED if "database space exceeded" in details:
            return DatabaseFullError(
                "etcd refuses writes, its database is full: compact and defragment it, or raise its quota, then run "
                "'etcdctl alarm disarm'"
            )
        case _Code.RESOURCE_EXHAUSTED if "message larger than max" in details:
            return MessageTooLargeError(f"etcd at {endpoint}: {details}")
        case _Code.INVALID_ARGUMENT if "too large" in details or "too many operations" in details:
            return TooLargeError(
                f"etcd at {endpoint} refuses the transaction ({details}): configure it to allow 128 operations and 1.5 MiB"
            )
        case _Code.UNAUTHENTICATED | _Code.PERMISSION_DENIED:
            return _no_permission(endpoint, details)
        case _Code.INVALID_ARGUMENT if "user name is empty" in details:
            return _no_permission(endpoint, details)
        case _:
            return NoAnswerError(f"etcd at {endpoint} does not answer: {details or code.name.lower()}")


def _no_permission(endpoint: str, details: str) -> CoveyError:
    return PermissionDeniedError(
        f"etcd at {endpoint} refuses this manager ({details}): pass a certificate with --store-cert"
    )
