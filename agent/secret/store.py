"""The vault: secrets and configs by id in memory, and their files for each task under ``run_dir/secrets/TASK``.

Files are numbered, so no name of a secret reaches the file system. They outlive the daemon, so that a restarted one finds the
files of running containers; what no task claims any more is swept. ``agent.container`` bind-mounts them read-only.
"""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

import msgspec

from agent.container.model import FileMount
from agent.secret.tmpfs import ensure_tmpfs
from covey.errors import InvalidArgumentError, NotFoundError, UnsupportedError
from covey.ids import is_id
from covey.objects import Config, FileTarget, Secret, Task


class TaskFiles(msgspec.Struct, frozen=True):
    """What a task's container gets to see."""

    secrets: tuple[FileMount, ...] = ()
    configs: tuple[FileMount, ...] = ()


class SecretStore:
    """One per daemon. ``run_dir`` may be on any file system; ``run_dir/secrets`` will be on a tmpfs."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = Path(run_dir) / "secrets"
        self._secrets: dict[str, Secret] = {}
        self._configs: dict[str, Config] = {}

    def open(self) -> None:
        """Find or mount the tmpfs. Raises UnsupportedError where there can be none."""
        ensure_tmpfs(self._folder)

    def put(self, item: Secret | Config) -> None:
        """Take a secret or config in, or its newer version."""
        if isinstance(item, Secret):
            self._secrets[item.id] = item
        else:
            self._configs[item.id] = item

    def drop_secret(self, secret_id: str) -> None:
        self._secrets.pop(secret_id, None)

    def drop_config(self, config_id: str) -> None:
        self._configs.pop(config_id, None)

    def missing_for(self, task: Task) -> tuple[str, ...]:
        """The names of what the task uses and the vault does not hold."""
        spec = task.spec.container
        lost = [f"secret {ref.secret_name}" for ref in spec.secrets if ref.secret_id not in self._secrets]
        return (*lost, *(f"config {ref.config_name}" for ref in spec.configs if ref.config_id not in self._configs))

    def write_task_files(self, task: Task) -> TaskFiles:
        """Write the task's files and say where they belong. Raises NotFoundError naming what is missing; nothing stays then."""
        lost = self.missing_for(task)
        if lost:
            raise NotFoundError(
                f"{', '.join(lost)} did not come with task {task.id}; the manager has not sent it to this node"
            )
        spec = task.spec.container
        if not spec.secrets and not spec.configs:
            return TaskFiles()
        ensure_tmpfs(self._folder)
        self.remove_task_files(task.id)
        folder = self._task_folder(task.id)
        folder.mkdir(mode=0o700)
        try:
            secrets = [
                _write(folder / f"s{number}", self._secrets[ref.secret_id], ref.secret_name, ref.file)
                for number, ref in enumerate(spec.secrets)
            ]
            configs = [
                _write(folder / f"c{number}", self._configs[ref.config_id], ref.config_name, ref.file)
                for number, ref in enumerate(spec.configs)
            ]
        except BaseException:
            self.remove_task_files(task.id)
            raise
        return TaskFiles(tuple(secrets), tuple(configs))

    def remove_task_files(self, task_id: str) -> None:
        """Delete a task's files; nothing happens where there are none."""
        shutil.rmtree(self._task_folder(task_id), ignore_errors=True)

    def remove_orphaned_files(self, task_ids: Collection[str]) -> tuple[str, ...]:
        """Delete the files of every task but these; whose they were."""
        gone = tuple(sorted(path.name for path in self._folder.iterdir() if path.name not in task_ids))
        for task_id in gone:
            shutil.rmtree(self._folder / task_id, ignore_errors=True)
        return gone

    def _task_folder(self, task_id: str) -> Path:
        if not is_id(task_id):
            raise InvalidArgumentError(f'"{task_id}" is not the id of a task')
        return self._folder / task_id


def _write(path: Path, item: Secret | Config, name: str, target: FileTarget) -> FileMount:
    if item.spec.templating is not None:
        raise UnsupportedError(
            f"{name}: the template driver {item.spec.templating.name} is not there yet; store the finished text"
        )
    uid, gid = _number(target.uid, name, "uid"), _number(target.gid, name, "gid")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(item.spec.data)
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, target.mode & 0o7777)
    return FileMount(source_path=str(path), target=target.name or name, uid=uid, gid=gid, mode=target.mode & 0o7777)


def _number(text: str, name: str, what: str) -> int:
    if not (text or "0").isdigit() or int(text or "0") >= 1 << 32:
        raise InvalidArgumentError(
            f'the {what} "{text}" of {name} is not a number; names of the image are not looked up'
        )
    return int(text or "0")
