"""The corpus of stack files below ``tests/golden/stack_config``: a folder a case, with what the real clients make of it beside.

stack.yml, override*.yml   the files, in the order of ``-c`` options
environment                the client's variables, KEY=VALUE
docker.yml                 what ``docker stack config`` prints, with the folder's path as /stack
docker.txt                 or its refusal
compose.yml, compose.txt   the same of ``docker compose config``, of files that docker stack refuses and that Covey reads
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.real_compose import compose_program

CORPUS = Path(__file__).parents[1] / "golden" / "stack_config"
PLACEHOLDER = "/stack"
_WARNING = "time="


@dataclass(frozen=True, slots=True)
class ClientAnswer:
    """What a client printed, or the refusal."""

    accepted: bool
    text: str


@dataclass(frozen=True, slots=True)
class StackCase:
    """One folder of the corpus."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def files(self) -> list[str]:
        return [str(self.folder / "stack.yml"), *sorted(str(path) for path in self.folder.glob("override*.yml"))]

    @property
    def environment(self) -> dict[str, str]:
        path = self.folder / "environment"
        lines = path.read_text().splitlines() if path.exists() else []
        own = {key: value for key, _, value in (line.partition("=") for line in lines)}
        return {"HOME": "/root", "PATH": os.environ["PATH"], **own}

    def recorded(self, client: str) -> ClientAnswer | None:
        """The golden answer of ``docker`` or ``compose``; None if there is none."""
        for suffix, accepted in ((".yml", True), (".txt", False)):
            path = self.folder / f"{client}{suffix}"
            if path.exists():
                return ClientAnswer(accepted, path.read_text())
        return None

    def record(self, client: str, answer: ClientAnswer) -> None:
        for suffix, accepted in ((".yml", True), (".txt", False)):
            path = self.folder / f"{client}{suffix}"
            path.unlink(missing_ok=True)
            if answer.accepted == accepted:
                path.write_text(answer.text)

    def by_docker(self) -> ClientAnswer:
        """The answer of the installed docker client."""
        return self._run(["docker", "stack", "config", *(part for file in self.files for part in ("-c", file))])

    def by_compose(self) -> ClientAnswer:
        """The answer of the real Docker Compose."""
        files = [part for file in self.files for part in ("-f", file)]
        return self._run([str(compose_program()), *files, "config"])

    def _run(self, command: list[str]) -> ClientAnswer:
        run = subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=False, timeout=60
        )
        text = run.stderr if run.returncode else run.stdout
        return ClientAnswer(not run.returncode, self.portable(text))

    def portable(self, text: str) -> str:
        """A text without dated warnings, and with the paths of the folder and of the one above replaced."""
        kept = "".join(line for line in text.splitlines(keepends=True) if not line.startswith(_WARNING))
        return kept.replace(str(self.folder), PLACEHOLDER).replace(str(self.folder.parent), "/above")


CASES = [StackCase(path) for path in sorted(CORPUS.iterdir()) if path.is_dir()]
