"""Translation of buildah's output into the log of Docker's classic builder. Pure.

Invariant: at most `HELD_BYTES` are kept back, so that a command that prints no line ends costs no memory.
"""

import re
from collections.abc import Mapping

from agent.build.model import BuildStepError
from covey.errors import CoveyError

HELD_BYTES = 1 << 16
_STEP = re.compile(r"(?:\[(?P<stage>\d+)/\d+\] )?STEP (?P<step>\d+)/\d+: (?P<text>.*)\n", re.DOTALL)
_CACHED = re.compile(r"--> Using cache ([0-9a-f]{12,64})\n")
_COMMITTED = re.compile(r"--> ([0-9a-f]{11,64})\n")
_NOISE = re.compile(r"(?:\[\d+/\d+\] )?COMMIT.*\n|--> Pushing cache .*\n")
_LAST = re.compile(r"Error: (?P<error>.*)\n|(?P<image>[0-9a-f]{64})\n", re.DOTALL)
"""buildah's last line."""
_WARNING = re.compile(r'time="[^"]*" level=(warning|error) msg="((?:[^"\\]|\\.)*)".*\n')
_HIDDEN_WARNINGS = ("missing ", "HEALTHCHECK is not supported")
_BEGINNINGS = ("STEP ", "[", "--> ", "COMMIT", "Error: ", 'time="')
_EXIT = re.compile(r'building at STEP "(?P<step>.*)": while running runtime: exit status (?P<code>\d+)', re.DOTALL)
_MISSING = re.compile(r'copier: stat: "/?([^"]*)": no such file or directory')
_HOST_PATH = re.compile(r' (?:under|from) "/[^"]*/context"')
_AT_STEP = re.compile(r'building at STEP "(?P<step>.*?)": (?P<reason>.*)', re.DOTALL)


class BuildLog:
    """Reads the output in pieces. `shown` maps a step as buildah prints it to the user's own line; `starts` are those that begin stages."""

    def __init__(self, shown: Mapping[str, str], step_count: int, starts: Mapping[int, str] = {}) -> None:
        self._shown = shown
        self._starts = starts
        self._step_count = step_count
        self._step = 0
        self._steps: list[tuple[int, int, str]] = []
        """Stage, number in the stage, and text."""
        self._cached = ""
        self._held = ""
        self._inside_line = False
        self._last = ""
        """The line before, if it is as buildah's last one may be."""

    def feed(self, text: str) -> list[str]:
        """The pieces of the log that the text completes."""
        found = []
        self._held += text
        while (end := self._held.find("\n") + 1) > 0:
            line, self._held = self._held[:end], self._held[end:]
            if self._inside_line:
                found.append(line)
                self._inside_line = False
            else:
                found += self._translate(line)
        if self._held and (self._inside_line or len(self._held) > HELD_BYTES or not self._may_be_ours()):
            found.append(self._held)
            self._held, self._inside_line = "", True
        return found

    def end(self) -> list[str]:
        """What is left when the output has ended, without buildah's own error."""
        rest, self._held = self._held, ""
        return self._translate(f"{rest}\n") if rest else []

    def cached(self) -> list[str]:
        """The log of the same build when every step comes from the cache. buildah tells layers without their steps, so it has none."""
        found = []
        for number, (_, step, text) in enumerate(sorted(self._steps), 1):
            found.append(f"Step {number}/{self._step_count} : {text}\n")
            if step > 1:
                found.append(" ---> Using cache\n")
        return found

    @property
    def image_id(self) -> str:
        """The id of the image that was built. Raises CoveyError if the output does not end with it."""
        found = _LAST.fullmatch(self._last)
        if found is None or found["image"] is None:
            raise CoveyError("the build ended without an image")
        return f"sha256:{found['image']}"

    def failure(self, status: int) -> BuildStepError:
        """The error of a build that ended with a status, in Docker's words."""
        found = _LAST.fullmatch(self._last)
        message = (found and found["error"]) or f"the build ended with status {status}"
        found = _EXIT.search(message)
        if found is not None:
            code = int(found["code"])
            return BuildStepError(
                f"The command '{self._command(found['step'])}' returned a non-zero code: {code}", code
            )
        at_step = _AT_STEP.fullmatch(message)
        if at_step is not None:
            shown = self._shown.get(at_step["step"], at_step["step"])
            if missing := _MISSING.search(at_step["reason"]):
                return BuildStepError(
                    f"{shown.split(' ')[0]} failed: file not found in build context or excluded by .dockerignore: "
                    f"stat {missing[1]}: file does not exist"
                )
            return BuildStepError(f"{shown}: {_HOST_PATH.sub('', at_step['reason'])}")
        return BuildStepError(message)

    def _translate(self, line: str) -> list[str]:
        held, self._last = self._last, ""
        before = [held] if held else []  # it was not the last line, so a command printed it
        if _LAST.fullmatch(line):
            self._last = line
            return before
        return [*before, *self._known(line)]

    def _known(self, line: str) -> list[str]:
        if found := _STEP.fullmatch(line):
            self._step += 1
            count = max(self._step_count, self._step)
            stage, step = int(found["stage"] or 1), int(found["step"])
            text = self._shown.get(found["text"], found["text"])
            text = self._starts.get(stage, text) if step == 1 else text
            if self._step <= self._step_count:  # what is beyond may be the output of a command, without end
                self._steps.append((stage, step, text))
            return [f"Step {self._step}/{count} : {text}\n"]
        if found := _CACHED.fullmatch(line):
            self._cached = found[1]
            return [" ---> Using cache\n", f" ---> {found[1][:12]}\n"]
        if found := _COMMITTED.fullmatch(line):  # follows a line of the same layer if it is from the cache
            cached, self._cached = self._cached, ""
            return [] if cached.startswith(found[1]) else [f" ---> {found[1]}\n"]
        if _NOISE.fullmatch(line):
            return []
        if found := _WARNING.fullmatch(line):
            message = found[2].replace('\\"', '"')
            return [] if message.startswith(_HIDDEN_WARNINGS) else [f"[Warning] {message}\n"]
        return [line]

    def _may_be_ours(self) -> bool:
        return any(self._held.startswith(each) or each.startswith(self._held) for each in _BEGINNINGS)

    def _command(self, step: str) -> str:
        shown = self._shown.get(step, step)
        command = re.sub(r"^RUN\s+(?:--\S+\s+)*", "", shown)
        return command if command.startswith("[") else f"/bin/sh -c {command}"
