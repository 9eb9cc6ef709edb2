"""Names of the versions of secrets and configs. The current version has the plain name, earlier ones NAME@1, NAME@2 and so on.

Invariant: clients cannot create names with an @, so an earlier version never takes a name that someone may want. Pure.
"""

from covey.objects import Config, Secret

_SEPARATOR = "@"


def base_name(name: str) -> str:
    """The name that all versions share, which services refer to."""
    return name.partition(_SEPARATOR)[0]


def is_earlier(name: str) -> bool:
    """Whether it is the name of a version that has been replaced."""
    return _SEPARATOR in name


def version_of(item: Secret | Config) -> int:
    """The number of the version, from 1."""
    return item.earlier_versions + 1


def earlier_name(item: Secret | Config) -> str:
    """The name that a version gets when it is replaced."""
    return f"{base_name(item.spec.annotations.name)}{_SEPARATOR}{version_of(item)}"
