"""Asks the repository of a watched stack for its newest commit, with ``git ls-remote``."""

import os
from collections.abc import Mapping

from covey.errors import DeadlineError
from covey.git_source import advertised_commit, git_environment, git_failure, remote_refs, repository_source
from covey.objects import WatchedStackSpec
from manager.stack_watch.bounded_process import Limits, run_bounded

LIMITS = Limits(seconds=30.0, memory_bytes=512 << 20, file_bytes=1 << 20)
_INHERITED = (
    "PATH", "HOME", "GIT_SSH_COMMAND", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
)  # fmt: skip
"""What git and the deployment see of the manager's environment. A repository's files are never interpolated with it."""


def inherited_environment(own: Mapping[str, str] = os.environ) -> dict[str, str]:
    return {key: own[key] for key in _INHERITED if key in own}


async def newest_commit(spec: WatchedStackSpec) -> str:
    """The commit of the watched ref.

    Raises:
        CoveyError: the repository does not answer within 30 s, or has no such ref.
    """
    source = repository_source(spec.url, spec.ref, spec.path)
    command = ("git", "ls-remote", "--quiet", "--", source.shown, *remote_refs(source))
    environment = git_environment(source, inherited_environment())
    try:
        done = await run_bounded(command, environment, LIMITS)
    except DeadlineError:
        raise DeadlineError(f"the repository {source.shown} did not answer within {LIMITS.seconds:g} s") from None
    if done.code:
        raise git_failure(source, done.errors)
    return advertised_commit(source, done.output.splitlines())
