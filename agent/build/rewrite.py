"""The Dockerfile that buildah reads: images named by their ids, and here-documents written without them. Pure.

buildah 1.28 does not know here-documents. Those of RUN become a command in exec form; those of COPY and ADD become files of
a build context of their own, which `CONTEXT_NAME` names. Its cache compares instructions before their variables are replaced, so another
build argument would not change an ENV or LABEL; such variables are replaced here.

Invariant: buildah finds every image by its id in its own storage, so a tag that moves meanwhile changes nothing.
"""

import json
import re
from collections.abc import Mapping

import msgspec

from agent.build.dockerfile import Dockerfile, Instruction
from agent.build.expansion import expand
from agent.build.stages import SCRATCH, Stage, StagePlan, argument_names, declared_values, split_words, used_stages
from covey.errors import InvalidArgumentError, UnsupportedError

CONTEXT_NAME = "covey-heredocs"
_EXPANDED = frozenset({"ADD", "COPY", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"})
_REFERENCE = re.compile(r"\$(?:(\w+)|\{(\w+))")
_DEFAULT_SHELL = ("/bin/sh", "-c")


class BaseImage(msgspec.Struct, frozen=True):
    """What a stage inherits from its image."""

    id: str
    env: tuple[str, ...] = ()
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()


class RewrittenDockerfile(msgspec.Struct, frozen=True):
    """`files` are those of the context `CONTEXT_NAME`. `shown` maps a line that buildah reports to the user's own.

    `starts` are the user's lines that begin stages, by number from 1: buildah reports them with a stage's id in place of its name.
    """

    text: str
    files: Mapping[str, str]
    shown: Mapping[str, str]
    step_count: int
    starts: Mapping[int, str] = {}


def rewrite(
    dockerfile: Dockerfile, plan: StagePlan, images: Mapping[str, BaseImage], build_args: Mapping[str, str]
) -> RewrittenDockerfile:
    """Rewrite the stages of the plan. `images` has every image that `external_images` names."""
    return _Rewriter(dockerfile.escape, plan, images, build_args).run()


class _Scope(msgspec.Struct):
    """What holds at an instruction of a stage."""

    variables: dict[str, str]
    shell: tuple[str, ...]
    given: frozenset[str] = frozenset()  # arguments whose values come from outside of the stage


class _Rewriter:
    def __init__(
        self, escape: str, plan: StagePlan, images: Mapping[str, BaseImage], build_args: Mapping[str, str]
    ) -> None:
        self._escape = escape
        self._plan = plan
        self._images = images
        self._build_args = build_args
        self._lines: list[str] = []
        self._files: dict[str, str] = {}
        self._shown: dict[str, str] = {}
        self._scopes: dict[int, _Scope] = {}

    def run(self) -> RewrittenDockerfile:
        if self._escape != "\\":
            self._lines.append(f"# escape={self._escape}")
        self._lines += [instruction.text for instruction in self._plan.leading]
        used = used_stages(self._plan)
        steps = 0
        for stage in self._plan.stages:
            before = len(self._lines)
            if stage in used:
                self._write_stage(stage)
                base = self._images.get(stage.base)
                steps += len(self._lines) - before + (len(base.on_build) if base is not None else 0)
            else:  # its place is kept, because others are named by number
                self._lines.append(f"FROM scratch{f' AS {stage.name}' if stage.name else ''}")
        starts = {stage.number + 1: stage.start.text for stage in used}
        return RewrittenDockerfile("\n".join(self._lines) + "\n", self._files, self._shown, steps, starts)

    def _write_stage(self, stage: Stage) -> None:
        earlier = self._plan.stage_named(stage.base, stage.number)
        name = f" AS {stage.name}" if stage.name else ""
        is_image = stage.base != SCRATCH and earlier is None
        base = self._images[stage.base].id.removeprefix("sha256:") if is_image else stage.base
        self._add(f"FROM {base}{name}", stage.start)
        scope = self._scope(stage, earlier)
        self._scopes[stage.number] = scope
        for instruction in stage.instructions:
            for line in self._lines_of(self._with_ids(instruction, stage), scope):
                self._add(line, instruction)
            self._follow(instruction, scope)

    def _add(self, line: str, instruction: Instruction) -> None:
        self._lines.append(line)
        self._shown[line] = instruction.text

    def _scope(self, stage: Stage, earlier: Stage | None) -> _Scope:
        if earlier is not None:
            above = self._scopes[earlier.number]
            return _Scope(dict(above.variables), above.shell, above.given)
        image = self._images.get(stage.base)
        if image is None:
            return _Scope({}, _DEFAULT_SHELL)
        pairs = (entry.partition("=") for entry in image.env)
        return _Scope({name: value for name, _, value in pairs}, image.shell or _DEFAULT_SHELL)

    def _follow(self, instruction: Instruction, scope: _Scope) -> None:
        """Apply what later here-documents depend on: ARG, ENV and SHELL."""
        if instruction.keyword == "ARG":
            given = {**self._plan.globals, **self._build_args}
            known = {word: given[word] for word in split_words(instruction.arguments, self._escape) if word in given}
            names = argument_names(instruction, self._escape)
            scope.given |= {name for name in names if name in known or name in self._build_args}
            scope.variables |= known | declared_values(instruction, scope.variables, self._build_args, self._escape)
        elif instruction.keyword == "ENV":
            environment = self._environment(instruction, scope)
            scope.variables |= environment
            scope.given -= environment.keys()
        elif instruction.keyword == "SHELL":
            scope.shell = _read_shell(instruction)

    def _environment(self, instruction: Instruction, scope: _Scope) -> dict[str, str]:
        words = split_words(instruction.arguments, self._escape)
        if words and "=" not in words[0]:  # the old form: one name, and the rest of the line
            name, _, value = instruction.arguments.partition(" ")
            return {name: expand(value.strip(), scope.variables, self._escape)}
        pairs = (word.partition("=") for word in words)
        return {name: expand(value, scope.variables, self._escape) for name, _, value in pairs}

    def _with_ids(self, instruction: Instruction, stage: Stage) -> Instruction:
        """The instruction with the ids of the images that it takes files from."""
        if instruction.keyword not in {"COPY", "RUN"}:
            return instruction
        flags = tuple(self._flag_with_id(flag, instruction, stage) for flag in instruction.flags)
        return msgspec.structs.replace(instruction, flags=flags)

    def _flag_with_id(self, flag: str, instruction: Instruction, stage: Stage) -> str:
        name, _, value = flag.partition("=")
        if instruction.keyword == "COPY":
            return f"--from={self._source(value, stage)}" if name == "--from" else flag
        if name != "--mount":
            raise _unsupported_flag(instruction, name)
        parts = [part.partition("=") for part in value.split(",")]
        if ("type", "=", "ssh") in parts:
            raise UnsupportedError(
                f"line {instruction.line}: RUN --mount=type=ssh is not supported: builds have no SSH agent; use a secret"
            )
        written = [f"from={self._source(each[2], stage)}" if each[0] == "from" else "".join(each) for each in parts]
        return f"--mount={','.join(written)}"

    def _source(self, reference: str, stage: Stage) -> str:
        if self._plan.stage_named(reference, stage.number) is not None or reference not in self._images:
            return reference
        return self._images[reference].id.removeprefix("sha256:")

    def _lines_of(self, instruction: Instruction, scope: _Scope) -> list[str]:
        if not instruction.heredocs:
            return [self._with_given_values(instruction, scope).text]
        if instruction.keyword == "RUN":
            return [self._command(instruction, scope)]
        return self._copies(instruction, scope)

    def _with_given_values(self, instruction: Instruction, scope: _Scope) -> Instruction:
        """The instruction with its variables replaced, if one of them is an argument whose value comes from outside of the stage."""
        used = {name for names in _REFERENCE.findall(instruction.arguments) for name in names}
        if instruction.keyword not in _EXPANDED or instruction.arguments.startswith("[") or not used & scope.given:
            return instruction
        if instruction.keyword == "ENV":
            words = [f"{name}={self._quoted(value)}" for name, value in self._environment(instruction, scope).items()]
        else:
            words = []
            for word in split_words(instruction.arguments, self._escape):
                name, equals, value = word.partition("=") if instruction.keyword == "LABEL" else ("", "", word)
                words.append(f"{name}{equals}{self._quoted(expand(value, scope.variables, self._escape))}")
        arguments = " ".join(words)
        return instruction if "\n" in arguments else msgspec.structs.replace(instruction, arguments=arguments)

    def _quoted(self, value: str) -> str:
        """A value as one word of an instruction."""
        if re.fullmatch(r"[\w./:@+=,-]+", value):
            return value
        escaped = re.sub(f'[{re.escape(self._escape)}"$]', lambda found: self._escape + found[0], value)
        return f'"{escaped}"'

    def _command(self, instruction: Instruction, scope: _Scope) -> str:
        """RUN with here-documents: the shell reads them as a part of its command, or gets the only one as its script."""
        script = instruction.arguments + "\n" + "\n".join(each.raw for each in instruction.heredocs) + "\n"
        only = instruction.heredocs[0]
        if instruction.arguments == only.word:
            script = only.content
            if script.startswith("#!"):
                script = _script_for_interpreter(script, instruction)
        words = json.dumps([*scope.shell, script], ensure_ascii=False)
        return " ".join(("RUN", *instruction.flags, words))

    def _copies(self, instruction: Instruction, scope: _Scope) -> list[str]:
        """COPY or ADD with here-documents: one COPY of their files, and one of the files of the context if it names some."""
        words = instruction.arguments.split()
        marks = {each.word: each for each in instruction.heredocs}
        folder = str(len(self._files))
        files = []
        for word in words[:-1]:
            if (found := marks.get(word)) is None:
                continue
            path = f"{folder}/{found.name}"
            if "/" in found.name or found.name in {".", ".."}:
                raise InvalidArgumentError(f"line {instruction.line}: {found.name!r} is no name of a file")
            content = (
                expand(found.content, scope.variables, self._escape, quotes=False) if found.expands else found.content
            )
            self._files[path] = content
            files.append(f"/{path}")
        flags = [flag for flag in instruction.flags if not flag.startswith("--from=")]
        lines = [" ".join(("COPY", f"--from={CONTEXT_NAME}", *flags, *files, words[-1]))]
        rest = [word for word in words[:-1] if word not in marks]
        if rest:
            lines.append(" ".join((instruction.keyword, *instruction.flags, *rest, words[-1])))
        return lines


def _read_shell(instruction: Instruction) -> tuple[str, ...]:
    try:
        return tuple(msgspec.json.decode(instruction.arguments, type=list[str]))
    except msgspec.MsgspecError:
        raise InvalidArgumentError(
            f"line {instruction.line}: SHELL requires the arguments to be in JSON form"
        ) from None


def _script_for_interpreter(script: str, instruction: Instruction) -> str:
    """A shell command that gives a script to the interpreter that its first line names."""
    interpreter = script.split("\n", 1)[0][2:].strip()
    if not re.fullmatch(r"[\w./ @+=-]+", interpreter):
        raise InvalidArgumentError(
            f"line {instruction.line}: the interpreter {interpreter[:80]!r} cannot be used in a here-document"
        )
    mark = "COVEY_SCRIPT"
    while mark in script:
        mark += "_"
    path = "/tmp/.covey-script"  # noqa: S108  inside the build's container
    return (
        f"mkdir -p /tmp && cat > {path} <<'{mark}'\n{script}{mark}\n"
        f"{interpreter} {path}; covey_status=$?; rm -f {path}; exit $covey_status\n"
    )


def _unsupported_flag(instruction: Instruction, name: str) -> UnsupportedError:
    return UnsupportedError(f"line {instruction.line}: RUN {name} is not supported: RUN takes --mount only")
