"""`docker rmi`: what goes, and what forbids it."""

import pytest

from agent.image.model import Image, ImageConfig
from agent.image.removal import ImageUser, RemovalPlan, name_of, plan_removal
from covey.errors import ConflictError

ID = "sha256:" + "a" * 64
DIGEST = "sha256:" + "d" * 64
STOPPED, RUNNING = ImageUser("c" * 64, running=False), ImageUser("e" * 64, running=True)


def image(*names: str) -> Image:
    return Image(
        id=ID,
        repo_tags=tuple(name for name in names if "@" not in name),
        repo_digests=tuple(name for name in names if "@" in name),
        created="",
        size=0,
        architecture="amd64",
        os="linux",
        config=ImageConfig(),
        diff_ids=(),
    )


@pytest.mark.parametrize(
    ("name", "names", "users", "force", "plan"),
    [
        ("app:1", ["app:1"], [], False, (("app:1",), True)),
        ("app:1", ["app:1", "app:2"], [RUNNING], False, (("app:1",), False)),
        ("app:1", ["app:1", f"app@{DIGEST}"], [], False, (("app:1", f"app@{DIGEST}"), True)),
        ("app:1", ["app:1", "app:2", f"app@{DIGEST}"], [], False, (("app:1",), False)),
        ("app:1", ["app:1", f"b@{DIGEST}"], [], False, (("app:1",), False)),
        (f"app@{DIGEST}", ["app:1", f"app@{DIGEST}"], [], False, ((f"app@{DIGEST}",), False)),
        ("app:1", ["app:1"], [STOPPED], True, (("app:1",), True)),
        ("app:1", ["app:1"], [RUNNING], True, (("app:1",), False)),
        ("a" * 12, ["app:1"], [], False, (("app:1",), True)),
        ("a" * 12, ["app:1", f"app@{DIGEST}"], [], False, (("app:1", f"app@{DIGEST}"), True)),
        (ID, ["app:1", "app:2"], [STOPPED], True, (("app:1", "app:2"), True)),
        (ID, [], [], False, ((), True)),
    ],
)
def test_removal(name: str, names: list[str], users: list[ImageUser], force: bool, plan: tuple[object, bool]) -> None:
    assert plan_removal(name, image(*names), users, force=force) == RemovalPlan(*plan)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "names", "users", "force", "words"),
    [
        ("app:1", ["app:1"], [STOPPED], False, 'unable to remove repository reference "app:1" (must force) - container cccccccccccc'),
        (ID, ["app:1"], [RUNNING], True, "(cannot be forced) - image is being used by running container eeeeeeeeeeee"),
        (ID, ["app:1"], [STOPPED], False, "(must be forced) - image is being used by stopped container cccccccccccc"),
        (ID, ["app:1", "b:1"], [], False, "(must be forced) - image is referenced in multiple repositories"),
        (ID, ["app:1", "b:1"], [RUNNING], False, "running container"),
    ],
)  # fmt: skip
def test_conflicts(name: str, names: list[str], users: list[ImageUser], force: bool, words: str) -> None:
    with pytest.raises(ConflictError) as raised:
        plan_removal(name, image(*names), users, force=force)
    assert words in raised.value.message


def test_the_name_of_an_image_is_found_in_every_form() -> None:
    made = image("app:latest", f"app@{DIGEST}")
    assert name_of("app", made) == name_of("docker.io/library/app:latest", made) == "app:latest"
    assert name_of(f"app@{DIGEST}", made) == f"app@{DIGEST}"
    assert name_of("aaaa", made) == name_of(ID, made) == ""
