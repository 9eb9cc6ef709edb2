"""Deploys a commit of a watched stack, in a process that runs the code of ``covey stack deploy --git`` against this host's daemon.

Invariant: the process has no credentials of a registry, sees no variable of the manager but where programs are, and ends with the manager.
"""

import sys

import msgspec

from covey.errors import CoveyError, InvalidArgumentError, UnavailableError
from covey.objects import WatchedStackSpec
from manager.stack_watch.bounded_process import Finished, Limits, run_bounded
from manager.stack_watch.remote import inherited_environment

MODULE = "cli.watched_deployment"
LIMITS = Limits(seconds=300.0, memory_bytes=1 << 30, file_bytes=256 << 20)
_LAST_LINES = 3
_SETTINGS = {"LC_ALL": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
"""Each arena of malloc reserves 64 MiB of the address space that is limited."""


class DeploymentResult(msgspec.Struct, frozen=True):
    """What the process answers: the commit that it deployed, or why it did not."""

    commit: str = ""
    error: str = ""


class StackDeployer:
    """Deploys through one daemon. ``host`` is the address of its Engine API."""

    def __init__(self, host: str) -> None:
        self._host = host

    async def __call__(self, spec: WatchedStackSpec) -> str:
        """Deploy the newest commit and return it.

        Raises:
            CoveyError: it cannot be fetched, read or deployed. What was deployed stays, and a repeat continues.
        """
        order = {
            "host": self._host,
            "stack": spec.annotations.name,
            "url": spec.url,
            "ref": spec.ref,
            "path": spec.path,
            "files": spec.files,
            "prune": spec.prune,
            "environment": spec.environment,
        }
        done = await run_bounded(
            (sys.executable, "-m", MODULE),
            {**inherited_environment(), **_SETTINGS},
            LIMITS,
            msgspec.json.encode(order) + b"\n",
        )
        result = _result(done)
        if result.error:
            raise InvalidArgumentError(result.error)
        return result.commit


def _result(done: Finished) -> DeploymentResult:
    try:
        return msgspec.json.decode(done.output, type=DeploymentResult)
    except msgspec.DecodeError:
        raise _without_result(done) from None


def _without_result(done: Finished) -> CoveyError:
    """The error of a process that did not answer, such as one that ran out of memory."""
    said = "; ".join(done.errors.strip().splitlines()[-_LAST_LINES:])
    return UnavailableError(f"the deployment ended with code {done.code}: {said or 'it said nothing'}")
