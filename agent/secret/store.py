"""Secret store of a node: secrets and configs in memory, and each task's files in RUN/secrets/TASK.

Invariant: files are numbered, so no secret's name reaches the file system. Files survive a restart of the daemon,
because running containers have them bind-mounted; `remove_orphaned_files` deletes those of ended tasks. Called by
`agent.worker`; `agent.container` bind-mounts the files read-only.
"""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

import msgspec

from agent.container.model import FileMount
from agent.secret.tmpfs import ensure_tmpfs
from covey.errors import InvalidArgumentError, NotFoundError
from covey.ids import is_id
from covey.objects import MAX_CONFIG_BYTES, MAX_SECRET_BYTES, Config, FileTarget, Secret, Task
from covey.payload_template import expand_payload, is_templated
from covey.placeholders import NodeFacts


class TaskFiles(msgspec.Struct, frozen=True):
    """The secrets and configs of a task, as mounts of its container."""

    secrets: tuple[FileMount, ...] = ()
    configs: tuple[FileMount, ...] = ()


class SecretStore:
    """One per daemon. `run_dir` may be on any file system; `run_dir`/secrets is on a tmpfs, mounted here if needed."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = Path(run_dir) / "secrets"
        self._secrets: dict[str, Secret] = {}
        self._configs: dict[str, Config] = {}

    def open(self) -> None:
        """Find or mount the tmpfs. Raises UnsupportedError if that is impossible."""
        ensure_tmpfs(self._folder)

    def put(self, item: Secret | Config) -> None:
        """Add a secret or config, or replace it with a newer version."""
        if isinstance(item, Secret):
            self._secrets[item.id] = item
        else:
            self._configs[item.id] = item

    def drop_secret(self, secret_id: str) -> None:
        self._secrets.pop(secret_id, None)

    def drop_config(self, config_id: str) -> None:
        self._configs.pop(config_id, None)

    def missing_for(self, task: Task) -> tuple[str, ...]:
        """Names of the secrets and configs that the task uses and the store does not have."""
        spec = task.spec.container
        secrets = [f"secret {ref.secret_name}" for ref in spec.secrets if ref.secret_id not in self._secrets]
        configs = [f"config {ref.config_name}" for ref in spec.configs if ref.config_id not in self._configs]
        return (*secrets, *configs)

    def write_task_files(self, task: Task, node: NodeFacts) -> TaskFiles:
        """Write the task's files, with their templates filled in, and return their mounts. No file stays after an error.

        Raises:
            NotFoundError: names what is missing.
            InvalidArgumentError: names what cannot be filled in, or has an owner that is no number.
        """
        missing = self.missing_for(task)
        if missing:
            raise NotFoundError(f"task {task.id}: the manager has not sent {', '.join(missing)} to this node")
        spec = task.spec.container
        if not spec.secrets and not spec.configs:
            return TaskFiles()
        ensure_tmpfs(self._folder)
        self.remove_task_files(task.id)
        folder = self._task_folder(task.id)
        folder.mkdir(mode=0o700)
        try:
            secrets = [
                _write(
                    folder / f"s{number}",
                    self._payload(task, self._secrets[ref.secret_id], node),
                    ref.secret_name,
                    ref.file,
                )
                for number, ref in enumerate(spec.secrets)
            ]
            configs = [
                _write(
                    folder / f"c{number}",
                    self._payload(task, self._configs[ref.config_id], node),
                    ref.config_name,
                    ref.file,
                )
                for number, ref in enumerate(spec.configs)
            ]
        except BaseException:
            self.remove_task_files(task.id)
            raise
        return TaskFiles(tuple(secrets), tuple(configs))

    def _payload(self, task: Task, item: Secret | Config, node: NodeFacts) -> bytes:
        """The data of a secret or config as the task gets it."""
        if not is_templated(item.spec.templating):
            return item.spec.data
        spec = task.spec.container
        return expand_payload(
            f"{type(item).__name__.lower()} {item.spec.annotations.name}",
            item.spec.data,
            task,
            node,
            secrets={ref.file.name: self._secrets[ref.secret_id].spec.data for ref in spec.secrets},
            configs={ref.file.name: self._configs[ref.config_id].spec.data for ref in spec.configs},
            max_bytes=MAX_SECRET_BYTES if isinstance(item, Secret) else MAX_CONFIG_BYTES,
        )

    def remove_task_files(self, task_id: str) -> None:
        """Delete the task's files. No error if there are none."""
        shutil.rmtree(self._task_folder(task_id), ignore_errors=True)

    def remove_orphaned_files(self, task_ids: Collection[str]) -> tuple[str, ...]:
        """Delete the files of every task but these. Returns the ids of the tasks whose files were deleted."""
        orphaned = tuple(sorted(path.name for path in self._folder.iterdir() if path.name not in task_ids))
        for task_id in orphaned:
            shutil.rmtree(self._folder / task_id, ignore_errors=True)
        return orphaned

    def _task_folder(self, task_id: str) -> Path:
        if not is_id(task_id):
            raise InvalidArgumentError(f'"{task_id}" is not a task id')
        return self._folder / task_id


def _write(path: Path, data: bytes, name: str, target: FileTarget) -> FileMount:
    uid, gid = _numeric_id(target.uid, name, "uid"), _numeric_id(target.gid, name, "gid")
    mode = target.mode & 0o7777
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    return FileMount(source_path=str(path), target=target.name or name, uid=uid, gid=gid, mode=mode)


def _numeric_id(text: str, name: str, field: str) -> int:
    if not (text or "0").isdigit() or int(text or "0") >= 1 << 32:
        raise InvalidArgumentError(f'the {field} "{text}" of {name} must be a number; names are not supported')
    return int(text or "0")
