"""Parser of a Dockerfile into instructions: parser directives, continuation lines, comments and heredocs. Pure.

What an instruction means is checked by buildah; here it is only found where it begins and ends.
"""

import re

import msgspec

from covey.errors import InvalidArgumentError, TooLargeError

SIZE_LIMIT_BYTES = 4 << 20
_DIRECTIVE = re.compile(r"#\s*([A-Za-z][A-Za-z0-9]*)\s*=\s*(.*?)\s*")
_FLAG = re.compile(r"--[a-z][a-z-]*(?:=\S*)?(?=\s|$)")
_HEREDOC = re.compile(r"(?<!\S)\d*<<(-?)(?:\"([^\"<\s]+)\"|'([^'<\s]+)'|([A-Za-z_.][^\s<>;|&()'\"]*))(?=[\s;|&()>]|$)")
_WITH_HEREDOCS = frozenset({"RUN", "COPY", "ADD"})
KEYWORDS = frozenset(
    {
        "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD", "RUN",
        "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
    }
)  # fmt: skip


class Heredoc(msgspec.Struct, frozen=True):
    """A here-document. `word` is its mark as it stands in the instruction, such as `<<-"EOF"`."""

    word: str
    name: str
    content: str
    expands: bool
    raw: str
    """The lines as they stand, with their terminator."""


class Instruction(msgspec.Struct, frozen=True):
    """One instruction. `flags` are its `--name=value` words, `arguments` what follows them on the logical line."""

    keyword: str
    flags: tuple[str, ...]
    arguments: str
    line: int
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def text(self) -> str:
        """The instruction on one line, without its here-documents."""
        return " ".join(part for part in (self.keyword, *self.flags, self.arguments) if part)

    def flag(self, name: str) -> str | None:
        """The value of the flag `--name=value`, None if it is not given."""
        return next((each.partition("=")[2] for each in self.flags if each.partition("=")[0] == f"--{name}"), None)


class Dockerfile(msgspec.Struct, frozen=True):
    """The instructions of a file, and its escape character."""

    instructions: tuple[Instruction, ...]
    escape: str = "\\"


def parse(data: bytes, name: str = "Dockerfile") -> Dockerfile:
    """Parse a Dockerfile. Raises InvalidArgumentError with the line, in Docker's words where it has them."""
    if len(data) > SIZE_LIMIT_BYTES:
        raise TooLargeError(f"the Dockerfile ({name}) has {len(data)} bytes; at most {SIZE_LIMIT_BYTES} are allowed")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"the Dockerfile ({name}) is not UTF-8: {error}") from None
    if "\0" in text:
        raise InvalidArgumentError(f"the Dockerfile ({name}) has a NUL byte")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    escape, start = _directives(lines)
    found = tuple(_Lines(lines, start, escape).instructions())
    if not found:
        raise InvalidArgumentError(f"the Dockerfile ({name}) cannot be empty")
    return Dockerfile(found, escape)


def _directives(lines: list[str]) -> tuple[str, int]:
    """The escape character, and the number of lines with parser directives."""
    escape, seen = "\\", set[str]()
    for number, line in enumerate(lines):
        found = _DIRECTIVE.fullmatch(line.strip())
        if found is None or found[1].lower() not in {"escape", "syntax", "check"}:
            return escape, number
        key = found[1].lower()
        if key in seen:
            raise InvalidArgumentError(f"only one {key} parser directive can be used")
        seen.add(key)
        if key == "escape":
            if found[2] not in {"\\", "`"}:
                raise InvalidArgumentError(f"invalid ESCAPE '{found[2]}' does not match [\\`]")
            escape = found[2]
    return escape, len(lines)


class _Lines:
    """Reads instructions from the file's lines."""

    def __init__(self, lines: list[str], start: int, escape: str) -> None:
        self._lines = lines
        self._at = start
        self._continued = re.compile(rf"{re.escape(escape)}[ \t]*$")

    def instructions(self) -> list[Instruction]:
        found = []
        while self._at < len(self._lines):
            line = self._lines[self._at].strip()
            if not line or line.startswith("#"):
                self._at += 1
                continue
            found.append(self._instruction())
        return found

    def _instruction(self) -> Instruction:
        number = self._at + 1
        logical = self._logical_line().strip()
        word, *others = logical.split(maxsplit=1)
        keyword, rest = word.upper(), others[0] if others else ""
        if keyword not in KEYWORDS:
            raise InvalidArgumentError(f"dockerfile parse error line {number}: unknown instruction: {word[:80]}")
        if not rest and keyword != "RUN":
            raise InvalidArgumentError(
                f"dockerfile parse error line {number}: {keyword} requires at least one argument"
            )
        flags = []
        if keyword in {"ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"}:
            while flag := _FLAG.match(rest):
                flags.append(flag[0])
                rest = rest[flag.end() :].lstrip()
        heredocs = self._heredocs(rest, number) if keyword in _WITH_HEREDOCS and not rest.startswith("[") else ()
        return Instruction(keyword, tuple(flags), rest, number, heredocs)

    def _logical_line(self) -> str:
        parts: list[str] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            if parts and (not line.strip() or line.lstrip().startswith("#")):
                continue  # comments and empty lines do not end a continued instruction
            if self._continued.search(line) is None:
                parts.append(line)
                break
            parts.append(self._continued.sub("", line))
        return "".join(parts)

    def _heredocs(self, arguments: str, number: int) -> tuple[Heredoc, ...]:
        return tuple(self._heredoc(mark, number) for mark in _HEREDOC.finditer(_without_quotes(arguments)))

    def _heredoc(self, mark: re.Match[str], number: int) -> Heredoc:
        strips, name = bool(mark[1]), mark[2] or mark[3] or mark[4]
        content, raw = list[str](), list[str]()
        while self._at < len(self._lines):
            line = self._lines[self._at]
            self._at += 1
            raw.append(line)
            shown = line.lstrip("\t") if strips else line
            if shown == name:
                text = "".join(f"{each}\n" for each in content)
                return Heredoc(mark[0], name, text, mark[4] is not None, "\n".join(raw))
            content.append(shown)
        raise InvalidArgumentError(f"dockerfile parse error line {number}: unterminated heredoc {name}")


def _without_quotes(arguments: str) -> str:
    """The arguments with blanks in place of quoted text, except for the quoted name of a here-document."""

    def blank(found: re.Match[str]) -> str:
        return found[0] if found[1] else " " * len(found[0])

    return re.sub(r"(<<-?)?(?:\"(?:[^\"\\]|\\.)*\"|'[^']*')", blank, arguments)
