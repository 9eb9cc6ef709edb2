"""Secrets as files on a tmpfs. Mounts a tmpfs of its own where the test's folder is on a disk."""

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

pytestmark = pytest.mark.root

TASK = "t" * 25


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[SecretStore]:
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


def test_the_folder_is_on_a_tmpfs_that_others_cannot_enter(vault: SecretStore, tmp_path: Path) -> None:
    assert tmpfs.is_tmpfs(tmp_path / "secrets")
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert tmpfs.ensure_tmpfs(tmp_path / "secrets") is False, "it is not mounted twice"


def test_a_disk_is_told_apart_from_a_tmpfs() -> None:
    assert not tmpfs.is_tmpfs(Path("/proc"))
    assert not tmpfs.is_tmpfs(Path("/usr"))


def test_files_have_the_owner_and_mode_that_were_asked_for(vault: SecretStore) -> None:
    vault.put(secret("a", b"hush"))
    vault.put(Config(id="k", spec=ConfigSpec(data=b"conf")))
    config = ConfigReference(config_id="k", config_name="conf", file=FileTarget(name="/etc/app.conf"))
    files = vault.write_task_files(
        task(reference("a", name="password", uid="7", gid="8", mode=0o440), configs=(config,))
    )
    (mount,) = files.secrets
    found = Path(mount.source_path).stat()
    assert Path(mount.source_path).read_bytes() == b"hush"
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (7, 8, 0o440)
    assert (mount.target, mount.mode) == ("password", 0o440)
    assert [(each.target, Path(each.source_path).read_bytes()) for each in files.configs] == [
        ("/etc/app.conf", b"conf")
    ]


def test_a_target_without_a_name_takes_the_secrets(vault: SecretStore) -> None:
    vault.put(secret("a", b"1"))
    assert vault.write_task_files(task(reference("a"))).secrets[0].target == "name-a"


def test_a_missing_secret_is_named_and_nothing_is_written(vault: SecretStore, tmp_path: Path) -> None:
    vault.put(secret("a", b"1"))
    with pytest.raises(NotFoundError, match="secret name-b"):
        vault.write_task_files(task(reference("a"), reference("b")))
    assert not list((tmp_path / "secrets").iterdir())


def test_a_half_written_set_is_taken_back(vault: SecretStore, tmp_path: Path) -> None:
    vault.put(secret("a", b"1"))
    with pytest.raises(InvalidArgumentError, match="postgres"):
        vault.write_task_files(task(reference("a"), reference("a", uid="postgres")))
    assert not list((tmp_path / "secrets").iterdir())


def test_what_managers_take_away_is_forgotten(vault: SecretStore) -> None:
    for key in "ab":
        vault.put(secret(key, b"1"))
    vault.drop_secret("a")
    assert vault.missing_for(task(reference("a"), reference("b"))) == ("secret name-a",)
    vault.drop_secret("b")
    assert vault.missing_for(task(reference("b"))) == ("secret name-b",)


def test_files_outlive_the_daemon_and_are_swept_when_no_task_claims_them(vault: SecretStore, tmp_path: Path) -> None:
    vault.put(secret("a", b"1"))
    path = Path(vault.write_task_files(task(reference("a"))).secrets[0].source_path)
    again = SecretStore(tmp_path)
    again.open()
    assert again.remove_orphaned_files({TASK}) == ()
    assert path.exists()
    assert again.remove_orphaned_files(()) == (TASK,)
    assert not path.exists()


def test_a_task_id_that_is_a_path_is_refused(vault: SecretStore) -> None:
    with pytest.raises(InvalidArgumentError):
        vault.remove_task_files("../../etc")
