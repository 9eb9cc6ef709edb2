"""Planner of `docker rmi`: which names go, whether the image goes, and what forbids it. Pure.

The rules are Docker's. An image can be removed by one of its names, which removes that name and with the last name the image,
or by its id. A stopped container forbids it unless it is forced; a running one always.
"""

from collections.abc import Sequence

import msgspec

from agent.image.model import Image
from covey import image_reference
from covey.errors import ConflictError, InvalidArgumentError
from covey.image_reference import Reference


class ImageUser(msgspec.Struct, frozen=True):
    """A container that was made from an image."""

    container_id: str
    running: bool


class RemovalPlan(msgspec.Struct, frozen=True):
    """Names to remove, and whether the image goes too."""

    names: tuple[str, ...]
    removes_image: bool


def plan_removal(name: str, image: Image, users: Sequence[ImageUser], *, force: bool) -> RemovalPlan:
    """The removal of an image by `name`, one of its names or its id. Raises ConflictError in Docker's words."""
    names = (*image.repo_tags, *image.repo_digests)
    named = name_of(name, image)
    if named:
        return _by_name(name, named, image, users, force=force)
    single = _is_single(names)
    _check(image, users, force=force, several=not single)
    return RemovalPlan(names, removes_image=True)


def name_of(name: str, image: Image) -> str:
    """The image's tag or digest that was given, in its stored form. Empty if the image was named by its id."""
    if name in image.repo_digests:
        return name
    try:
        reference = image_reference.parse(name)
    except InvalidArgumentError:
        return ""
    found = reference.with_default_tag().familiar if not reference.digest else _digest_name(reference)
    return found if found in (*image.repo_tags, *image.repo_digests) else ""


def _by_name(name: str, named: str, image: Image, users: Sequence[ImageUser], *, force: bool) -> RemovalPlan:
    names = (*image.repo_tags, *image.repo_digests)
    if not force and _is_single(names) and users:
        raise ConflictError(
            f'conflict: unable to remove repository reference "{name}" (must force) - container '
            f"{users[0].container_id[:12]} is using its referenced image {_short(image)}"
        )
    repository = _repository(named)
    rest = [other for other in names if other != named]
    same = [other for other in rest if _repository(other) == repository]
    orphans = same if "@" not in named and all("@" in other for other in same) else []
    remaining = [other for other in rest if other not in orphans]
    is_running = any(user.running for user in users)
    return RemovalPlan((named, *orphans), removes_image=not remaining and not is_running)


def _check(image: Image, users: Sequence[ImageUser], *, force: bool, several: bool) -> None:
    for user in users:
        if user.running:
            raise ConflictError(
                f"conflict: unable to delete {_short(image)} (cannot be forced) - image is being used by running container "
                f"{user.container_id[:12]}"
            )
    if force:
        return
    if several:
        raise ConflictError(
            f"conflict: unable to delete {_short(image)} (must be forced) - image is referenced in multiple repositories"
        )
    if users:
        raise ConflictError(
            f"conflict: unable to delete {_short(image)} (must be forced) - image is being used by stopped container "
            f"{users[0].container_id[:12]}"
        )


def _is_single(names: Sequence[str]) -> bool:
    """Whether all names are one tag with its digests, so that removing the image by its id surprises nobody."""
    if len(names) <= 1:
        return True
    tags = [name for name in names if "@" not in name]
    repositories = {_repository(name) for name in names}
    return len(tags) <= 1 and len(repositories) == 1


def _repository(name: str) -> str:
    return image_reference.parse(name).name


def _digest_name(reference: Reference) -> str:
    return f"{reference.familiar_name}@{reference.digest}"


def _short(image: Image) -> str:
    return image.id.removeprefix("sha256:")[:12]
