"""Versions that clients see: Covey's own, and the engine's, which clients compare with Docker's releases.

Invariant: the engine's version is a semantic version whose number is the Docker release with the same API, so that a client that asks for
"at least 25.0" decides rightly. Covey's own version is its build metadata, which comparisons ignore.
"""

from importlib import metadata

DOCKER_RELEASE = "28.2.0"
"""The first release of Docker with API 1.50."""


def covey_version() -> str:
    """Covey's version, such as 0.1.0."""
    try:
        return metadata.version("covey")
    except metadata.PackageNotFoundError:
        return "0.0.0"


def engine_version() -> str:
    """The engine's version, such as 28.2.0+covey.0.1.0."""
    return f"{DOCKER_RELEASE}+covey.{covey_version()}"
