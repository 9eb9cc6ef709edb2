"""Secret store: files on a tmpfs, which is mounted where the test's directory is on a disk."""

import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.secret import tmpfs
from agent.secret.store import SecretStore
from covey.errors import InvalidArgumentError, NotFoundError
from covey.objects import (
    Annotations,
    Config,
    ConfigReference,
    ConfigSpec,
    ContainerSpec,
    FileTarget,
    Secret,
    SecretReference,
    SecretSpec,
    Task,
    TaskSpec,
)
from covey.placeholders import NodeFacts

pytestmark = pytest.mark.root

TASK = "t" * 25
NODE = NodeFacts("n" * 25, "east")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SecretStore]:
    made = SecretStore(tmp_path)
    made.open()
    yield made
    subprocess.run(["umount", str(tmp_path / "secrets")], check=False, capture_output=True)


def secret(key: str, data: bytes) -> Secret:
    return Secret(id=key, spec=SecretSpec(annotations=Annotations(name=f"name-{key}"), data=data))


def task(*secrets: SecretReference, configs: tuple[ConfigReference, ...] = ()) -> Task:
    return Task(id=TASK, spec=TaskSpec(container=ContainerSpec(secrets=secrets, configs=configs)))


def reference(key: str, **target: object) -> SecretReference:
    return SecretReference(secret_id=key, secret_name=f"name-{key}", file=FileTarget(**target))


def test_the_directory_is_on_a_tmpfs_that_others_cannot_enter(store: SecretStore, tmp_path: Path) -> None:
    assert tmpfs.is_tmpfs(tmp_path / "secrets")
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert tmpfs.ensure_tmpfs(tmp_path / "secrets") is False, "it is not mounted twice"


def test_a_disk_is_not_mistaken_for_a_tmpfs() -> None:
    assert not tmpfs.is_tmpfs(Path("/proc"))
    assert not tmpfs.is_tmpfs(Path("/usr"))


def test_files_have_the_owner_and_mode_of_the_reference(store: SecretStore) -> None:
    store.put(secret("a", b"hush"))
    store.put(Config(id="k", spec=ConfigSpec(data=b"conf")))
    config = ConfigReference(config_id="k", config_name="conf", file=FileTarget(name="/etc/app.conf"))
    files = store.write_task_files(
        task(reference("a", name="password", uid="7", gid="8", mode=0o440), configs=(config,)), NODE
    )
    (mount,) = files.secrets
    found = Path(mount.source_path).stat()
    assert Path(mount.source_path).read_bytes() == b"hush"
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (7, 8, 0o440)
    assert (mount.target, mount.mode) == ("password", 0o440)
    assert [(each.target, Path(each.source_path).read_bytes()) for each in files.configs] == [
        ("/etc/app.conf", b"conf")
    ]


def test_a_target_without_a_name_takes_the_secrets_name(store: SecretStore) -> None:
    store.put(secret("a", b"1"))
    assert store.write_task_files(task(reference("a")), NODE).secrets[0].target == "name-a"


def test_a_missing_secret_is_named_and_nothing_is_written(store: SecretStore, tmp_path: Path) -> None:
    store.put(secret("a", b"1"))
    with pytest.raises(NotFoundError, match="secret name-b"):
        store.write_task_files(task(reference("a"), reference("b")), NODE)
    assert not list((tmp_path / "secrets").iterdir())


def test_an_error_leaves_no_half_written_set(store: SecretStore, tmp_path: Path) -> None:
    store.put(secret("a", b"1"))
    with pytest.raises(InvalidArgumentError, match="postgres"):
        store.write_task_files(task(reference("a"), reference("a", uid="postgres")), NODE)
    assert not list((tmp_path / "secrets").iterdir())


def test_withdrawn_secrets_are_dropped(store: SecretStore) -> None:
    for key in "ab":
        store.put(secret(key, b"1"))
    store.drop_secret("a")
    assert store.missing_for(task(reference("a"), reference("b"))) == ("secret name-a",)
    store.drop_secret("b")
    assert store.missing_for(task(reference("b"))) == ("secret name-b",)


def test_files_outlive_the_daemon_and_are_deleted_when_no_task_has_them(store: SecretStore, tmp_path: Path) -> None:
    store.put(secret("a", b"1"))
    path = Path(store.write_task_files(task(reference("a")), NODE).secrets[0].source_path)
    again = SecretStore(tmp_path)
    again.open()
    assert again.remove_orphaned_files({TASK}) == ()
    assert path.exists()
    assert again.remove_orphaned_files(()) == (TASK,)
    assert not path.exists()


def test_a_task_id_that_is_a_path_is_refused(store: SecretStore) -> None:
    with pytest.raises(InvalidArgumentError):
        store.remove_task_files("../../etc")
