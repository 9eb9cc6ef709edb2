"""How a Dockerfile is cut into instructions."""

import pytest

from agent.build.dockerfile import parse
from covey.errors import CoveyError


def texts(source: str) -> list[str]:
    return [instruction.text for instruction in parse(source.encode()).instructions]


def test_continued_lines_are_joined_and_comments_between_them_skipped() -> None:
    assert texts("FROM a\n# note\nrun one \\\n# inside\n\n  && two\nCMD x") == ["FROM a", "RUN one   && two", "CMD x"]


def test_the_escape_directive_changes_what_continues_a_line() -> None:
    parsed = parse(b"# escape=`\nFROM a\nRUN dir c:\\\nRUN a `\n b\n")
    assert [each.text for each in parsed.instructions] == ["FROM a", "RUN dir c:\\", "RUN a  b"]
    assert parsed.escape == "`"


def test_a_directive_after_a_comment_is_a_comment() -> None:
    assert parse(b"# first\n# escape=`\nFROM a\n").escape == "\\"


def test_flags_are_apart_from_arguments() -> None:
    copy = parse(b"FROM a\nCOPY --from=b --chown=1:2 x  y\n").instructions[1]
    assert copy.flags == ("--from=b", "--chown=1:2")
    assert (copy.arguments, copy.flag("from"), copy.flag("chmod")) == ("x  y", "b", None)


def test_here_documents_follow_their_instruction() -> None:
    source = "FROM a\nCOPY <<one <<-'two' /d/\n1 $X\none\n\t\t2\n\ttwo\nRUN x\n"
    parsed = parse(source.encode())
    one, two = parsed.instructions[1].heredocs
    assert (one.name, one.content, one.expands) == ("one", "1 $X\n", True)
    assert (two.name, two.content, two.expands) == ("two", "2\n", False)
    assert parsed.instructions[2].text == "RUN x"


@pytest.mark.parametrize(
    "command", ["echo $((1<<EOF))", "cat <<<EOF", "echo '<<EOF'", 'echo "a <<EOF b"', '["sh", "<<EOF"]']
)
def test_what_only_looks_like_a_here_document_is_none(command: str) -> None:
    assert parse(f"FROM a\nRUN {command}\n".encode()).instructions[1].heredocs == ()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (b"", "the Dockerfile (Dockerfile) cannot be empty"),
        (b"# only a comment\n", "the Dockerfile (Dockerfile) cannot be empty"),
        (b"FROM a\nRUNN x\n", "dockerfile parse error line 2: unknown instruction: RUNN"),
        (b"FROM a\n\nCOPY\n", "dockerfile parse error line 3: COPY requires at least one argument"),
        (b"FROM a\nRUN <<EOF\nx\n", "dockerfile parse error line 2: unterminated heredoc EOF"),
        (b"# escape=x\nFROM a\n", "invalid ESCAPE 'x' does not match [\\`]"),
        (b"FROM a\nRUN \0\n", "the Dockerfile (Dockerfile) has a NUL byte"),
    ],
)
def test_faults_are_named_with_their_line(source: bytes, message: str) -> None:
    with pytest.raises(CoveyError) as caught:
        parse(source)
    assert caught.value.message == message


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(CoveyError, match="at most 4194304"):
        parse(b"#" * (4 << 20) + b"\n")
