"""Git repositories as sources of stack files: where a file is, and how git is called so that a URL or a repository can do no harm. Pure.

Called by the command line, which fetches, and by the managers, which ask for new commits.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

import msgspec

from covey.errors import CoveyError, InvalidArgumentError, NotFoundError

_SAFE_PROTOCOLS = ("https", "ssh")
_NAMED_PROTOCOLS = ("http", "git", "file")
"""Protocols without encryption, or of local directories: allowed if the URL names them; never after a redirection."""
_SCP = re.compile(r"[\w.-]+@[\w.-]+:[^:].*")
_REF = re.compile(r"[A-Za-z0-9_.][\w./+@-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FOREIGN_SETTINGS = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"})
_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "LC_ALL": "C",
}


class RepositorySource(msgspec.Struct, frozen=True):
    """Where a stack's file is. ``ref`` is a branch, a tag or a commit; empty for the default branch."""

    url: str
    protocol: str
    ref: str = ""
    path: str = ""

    @property
    def shown(self) -> str:
        """The URL without credentials."""
        return shown_url(self.url)

    @property
    def is_fixed(self) -> bool:
        """Whether the ref is a commit, which never changes."""
        return _COMMIT.fullmatch(self.ref) is not None


def parse_source(text: str) -> RepositorySource:
    """The source that ``URL#ref:path`` names.

    Raises:
        InvalidArgumentError: not a URL of a protocol that is allowed, or not a ref or path.
    """
    url, _, fragment = text.partition("#")
    ref, _, path = fragment.partition(":")
    return repository_source(url, ref, path)


def repository_source(url: str, ref: str, path: str) -> RepositorySource:
    """The source of a URL, ref and path.

    Raises:
        InvalidArgumentError: one of them is not allowed.
    """
    scheme = url.partition("://")[0] if "://" in url else "ssh" if _SCP.fullmatch(url) else ""
    is_plain = all(char > " " for char in f"{url}{ref}{path}") and "#" not in url
    if scheme not in (*_SAFE_PROTOCOLS, *_NAMED_PROTOCOLS) or not is_plain:
        raise InvalidArgumentError(
            f"{shown_url(url)!r} is not the URL of a repository: use https://, ssh://, git:// or file://"
        )
    if ref and (not _REF.fullmatch(ref) or ".." in ref):
        raise InvalidArgumentError(f"{ref!r} is not a branch, tag or commit")
    require_inside(path)
    return RepositorySource(url, scheme, ref, path)


def require_inside(path: str) -> None:
    """Refuse a path that leaves the repository."""
    if path.startswith("/") or ".." in path.split("/"):
        raise InvalidArgumentError(f"path {path!r} is outside the repository")


def shown_url(url: str) -> str:
    """A URL without credentials. The user name of ssh is none."""
    if url.startswith("ssh://"):
        return re.sub(r"(?<=//)([^/@:]*):[^/@]*@", r"\1@", url)
    return re.sub(r"(?<=//)[^/@]*@", "", url)


def git_environment(source: RepositorySource, own: Mapping[str, str]) -> dict[str, str]:
    """The environment of git: no questions, and no protocol but the safe ones and the URL's own.

    git is given the URL without credentials, because arguments are visible on the host; the environment has them as a header of HTTP.
    """
    result = {key: value for key, value in own.items() if key not in _FOREIGN_SETTINGS}
    result.setdefault("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")
    protocols = sorted({*_SAFE_PROTOCOLS, source.protocol})
    result |= {**_QUIET, "GIT_ALLOW_PROTOCOL": ":".join(protocols)}
    if source.protocol in ("http", "https") and source.shown != source.url:
        count = int(result.get("GIT_CONFIG_COUNT") or 0)
        result["GIT_CONFIG_COUNT"] = str(count + 1)
        result[f"GIT_CONFIG_KEY_{count}"] = f"http.{source.shown}.extraHeader"
        result[f"GIT_CONFIG_VALUE_{count}"] = f"Authorization: Basic {_basic_credentials(source.url)}"
    return result


def _basic_credentials(url: str) -> str:
    user, _, password = url.partition("://")[2].partition("/")[0].rpartition("@")[0].partition(":")
    return base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()


def remote_refs(source: RepositorySource) -> tuple[str, ...]:
    """The full names that the ref may have in the repository, the first that exists wins, as in ``git fetch``."""
    ref = source.ref
    if not ref:
        return ("HEAD",)
    full = (ref,) if ref.startswith("refs/") else ()
    names = (*full, f"refs/{ref}", f"refs/tags/{ref}", f"refs/heads/{ref}")
    return tuple(name for base in names for name in (f"{base}^{{}}", base))


def advertised_commit(source: RepositorySource, listing: Iterable[str]) -> str:
    """The commit of the ref in the output of ``git ls-remote``; an annotated tag counts as what it points to.

    Raises:
        NotFoundError: the repository has no such ref.
    """
    commits = {}
    for line in listing:
        commit, _, name = line.rstrip("\n").partition("\t")
        if _COMMIT.fullmatch(commit):
            commits[name] = commit
    found = next((commits[name] for name in remote_refs(source) if name in commits), None)
    if found is None:
        wanted = f"branch or tag {source.ref}" if source.ref else "commit yet"
        raise NotFoundError(f"the repository {source.shown} has no {wanted}")
    return found


def git_failure(source: RepositorySource, said: str) -> CoveyError:
    """What git said about a repository that it cannot read, in one line and without credentials."""
    lines = [line for line in said.replace(source.url, source.shown).splitlines() if line.strip()]
    reason = next(
        (line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1] if lines else "git failed"
    )
    return InvalidArgumentError(f"the repository {source.shown} cannot be fetched: {reason}")
