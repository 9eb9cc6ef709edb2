"""Stages of a Dockerfile: which instructions belong to each, what each is based on, and which images of others they use. Pure."""

from collections.abc import Mapping, Sequence

import msgspec

from agent.build.dockerfile import Dockerfile, Instruction
from agent.build.expansion import expand
from covey import image_platform
from covey.errors import InvalidArgumentError, UnsupportedError

SCRATCH = "scratch"
STAGE_LIMIT = 500
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PREDEFINED = frozenset({*_PROXIES, *(name.lower() for name in _PROXIES)})
"""Arguments that need no ARG."""


class Stage(msgspec.Struct, frozen=True):
    """A stage. `base` is `scratch`, a stage's name or an image's name, with its variables expanded."""

    number: int
    name: str
    base: str
    start: Instruction
    instructions: tuple[Instruction, ...]


class StagePlan(msgspec.Struct, frozen=True):
    """The stages up to the target, and the variables that hold before the first of them."""

    stages: tuple[Stage, ...]
    globals: Mapping[str, str]
    leading: tuple[Instruction, ...]
    declared: frozenset[str]
    """The names of all arguments that the file declares."""

    def stage_named(self, reference: str, before: int) -> Stage | None:
        """The stage before this number that a reference means: by its name in any case, or by its number."""
        earlier = self.stages[:before]
        for stage in reversed(earlier):
            if stage.name and stage.name.lower() == reference.lower():
                return stage
        return earlier[int(reference)] if reference.isdecimal() and int(reference) < len(earlier) else None


def platform_arguments() -> dict[str, str]:
    """The arguments that tell the platform of the host and of the image, which are the same here."""
    host = image_platform.host_platform()
    values = {
        "PLATFORM": image_platform.describe(host),
        "OS": host.os,
        "ARCH": host.architecture,
        "VARIANT": host.variant,
    }
    return {f"{side}{name}": value for side in ("TARGET", "BUILD") for name, value in values.items()}


def plan_stages(dockerfile: Dockerfile, build_args: Mapping[str, str], target: str = "") -> StagePlan:
    """The stages that a build of `target` may need; by default all. Raises InvalidArgumentError."""
    variables = platform_arguments()
    values, leading, stages = dict(variables), list[Instruction](), list[Stage]()
    current: list[Instruction] = []
    for instruction in dockerfile.instructions:
        if instruction.keyword == "FROM":
            current = []
            stages.append(_stage(instruction, len(stages), values, dockerfile.escape))
        elif not stages:
            if instruction.keyword != "ARG":
                raise InvalidArgumentError(
                    f"dockerfile parse error line {instruction.line}: no build stage in current context; begin with FROM"
                )
            leading.append(instruction)
            values.update(declared_values(instruction, values, build_args, dockerfile.escape))
        else:
            current.append(instruction)
            stages[-1] = msgspec.structs.replace(stages[-1], instructions=tuple(current))
    if not stages:
        raise InvalidArgumentError("dockerfile parse error: no build stage in current context; begin with FROM")
    if len(stages) > STAGE_LIMIT:
        raise InvalidArgumentError(f"the Dockerfile has {len(stages)} stages; at most {STAGE_LIMIT} are allowed")
    declared = frozenset(
        name
        for each in dockerfile.instructions
        if each.keyword == "ARG"
        for name in argument_names(each, dockerfile.escape)
    )
    return StagePlan(tuple(stages[: _end(stages, target)]), values, tuple(leading), declared)


def used_stages(plan: StagePlan) -> tuple[Stage, ...]:
    """The stages that the last one needs, in their order."""
    needed, pending = set[int](), [plan.stages[-1]]
    while pending:
        stage = pending.pop()
        if stage.number in needed:
            continue
        needed.add(stage.number)
        for reference in _references(stage):
            found = plan.stage_named(reference, stage.number)
            if found is not None:
                pending.append(found)
    return tuple(stage for stage in plan.stages if stage.number in needed)


def external_images(plan: StagePlan) -> tuple[str, ...]:
    """The images that the needed stages are based on or copy from, each once. Raises InvalidArgumentError for an empty name."""
    named = [(stage, reference) for stage in used_stages(plan) for reference in _references(stage)]
    found = [reference for stage, reference in named if plan.stage_named(reference, stage.number) is None]
    return tuple(dict.fromkeys(reference for reference in found if reference != SCRATCH))


def _references(stage: Stage) -> tuple[str, ...]:
    """All stages and images that a stage names."""
    return (stage.base, *(each for instruction in stage.instructions for each in sources(instruction)))


def sources(instruction: Instruction) -> tuple[str, ...]:
    """The stages and images that an instruction takes files from: `--from` of COPY and `from=` of RUN's mounts."""
    if instruction.keyword == "COPY":
        given = instruction.flag("from")
        return () if given is None else (given,)
    if instruction.keyword != "RUN":
        return ()
    return tuple(
        value
        for flag in instruction.flags
        if flag.startswith("--mount=")
        for part in flag.removeprefix("--mount=").split(",")
        for name, _, value in (part.partition("="),)
        if name == "from" and value
    )


def declared_values(
    instruction: Instruction, variables: Mapping[str, str], build_args: Mapping[str, str], escape: str
) -> dict[str, str]:
    """The arguments of an ARG that get a value: the client's, else the default."""
    found: dict[str, str] = {}
    for word in split_words(instruction.arguments, escape):
        name, equals, default = word.partition("=")
        if name in build_args:
            found[name] = build_args[name]
        elif equals:
            found[name] = expand(default, {**variables, **found}, escape)
    return found


def argument_names(instruction: Instruction, escape: str) -> tuple[str, ...]:
    """The names that an ARG declares."""
    return tuple(word.partition("=")[0] for word in split_words(instruction.arguments, escape))


def split_words(text: str, escape: str) -> list[str]:
    """The words of an ARG or ENV: separated by blanks that are neither quoted nor escaped. Quotes stay."""
    words, word, quote, at = list[str](), "", "", 0
    while at < len(text):
        letter = text[at]
        if letter == escape and quote != "'" and at + 1 < len(text):
            word, at = word + text[at : at + 2], at + 2
            continue
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        if not quote and letter in " \t":
            words, word = [*words, word] if word else words, ""
        else:
            word += letter
        at += 1
    return [*words, word] if word else words


def _stage(instruction: Instruction, number: int, variables: Mapping[str, str], escape: str) -> Stage:
    words = instruction.arguments.split()
    if len(words) not in {1, 3} or (len(words) == 3 and words[1].upper() != "AS"):
        raise InvalidArgumentError(
            f"dockerfile parse error line {instruction.line}: FROM requires either one or three arguments"
        )
    platform = instruction.flag("platform")
    if platform is not None:
        require_host_platform(expand(platform, variables, escape))
    base = expand(words[0], variables, escape)
    if not base:
        raise InvalidArgumentError(f"base name ({words[0]}) should not be blank")
    return Stage(number, words[2] if len(words) == 3 else "", base, instruction, ())


def require_host_platform(text: str) -> None:
    """Raises UnsupportedError for another platform than the host's."""
    wanted = image_platform.parse_platform(text)
    if wanted is not None and not image_platform.matches(wanted, image_platform.host_platform()):
        raise UnsupportedError(
            f"a build for the platform {text} is not supported: this host builds for "
            f"{image_platform.describe(image_platform.host_platform())} only"
        )


def _end(stages: Sequence[Stage], target: str) -> int:
    if not target:
        return len(stages)
    for stage in stages:
        if stage.name and stage.name.lower() == target.lower():
            return stage.number + 1
    if target.isdecimal() and int(target) < len(stages):
        return int(target) + 1
    raise InvalidArgumentError(f"failed to reach build target {target} in Dockerfile")
