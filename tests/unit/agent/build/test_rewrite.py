"""Stages, the images they need, and the Dockerfile that buildah reads."""

import json

import pytest

from agent.build.dockerfile import parse
from agent.build.rewrite import BaseImage, RewrittenDockerfile, rewrite
from agent.build.stages import StagePlan, external_images, plan_stages, used_stages
from covey.errors import InvalidArgumentError, UnsupportedError

ID = "a" * 64
OTHER = "b" * 64


def planned(source: str, arguments: dict[str, str] | None = None, target: str = "") -> StagePlan:
    return plan_stages(parse(source.encode()), arguments or {}, target)


def rewritten(source: str, arguments: dict[str, str] | None = None, target: str = "") -> RewrittenDockerfile:
    images = {
        "base": BaseImage(f"sha256:{ID}", env=("HOME=/root",), on_build=("RUN x",)),
        "other:2": BaseImage(f"sha256:{OTHER}", shell=("/bin/ash", "-c")),
    }
    return rewrite(parse(source.encode()), planned(source, arguments, target), images, arguments or {})


def test_images_are_found_after_arguments_are_replaced() -> None:
    source = "ARG V=1\nARG N=img:${V}\nFROM $N AS one\nFROM one\nCOPY --from=x/y:3 a b\nRUN --mount=type=bind,from=z,target=/z ls\n"
    assert external_images(planned(source)) == ("img:1", "x/y:3", "z")
    assert external_images(planned(source, {"V": "9"}))[0] == "img:9"


def test_only_the_stages_that_the_target_needs_count() -> None:
    source = "FROM a AS one\nFROM b AS two\nFROM scratch AS three\nCOPY --from=0 x y\nFROM d AS four\n"
    assert [stage.name for stage in used_stages(planned(source, target="THREE"))] == ["one", "three"]
    assert external_images(planned(source, target="three")) == ("a",)


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="failed to reach build target nope in Dockerfile"):
        planned("FROM a\n", target="nope")


def test_images_are_named_by_id_and_stages_stay() -> None:
    source = "FROM base AS one\nCOPY --from=other:2 a b\nFROM one\nCOPY --from=ONE c d\n"
    found = rewritten(source)
    assert found.text == f"FROM {ID} AS one\nCOPY --from={OTHER} a b\nFROM one\nCOPY --from=ONE c d\n"
    assert found.shown[f"COPY --from={OTHER} a b"] == "COPY --from=other:2 a b"
    assert found.step_count == 5  # with the trigger of the base image


def test_a_script_becomes_a_command_of_the_stage_s_shell() -> None:
    found = rewritten('FROM other:2\nRUN <<EOF\necho "$A"\nEOF\nSHELL ["/bin/x", "-e"]\nRUN cat <<E > /f\nb\nE\n')
    lines = found.text.splitlines()
    assert json.loads(lines[1].removeprefix("RUN ")) == ["/bin/ash", "-c", 'echo "$A"\n']
    assert json.loads(lines[3].removeprefix("RUN ")) == ["/bin/x", "-e", "cat <<E > /f\nb\nE\n"]


def test_files_of_here_documents_are_expanded_unless_their_name_is_quoted() -> None:
    source = "ARG G=g\nFROM base\nARG G\nARG A=1\nENV B=$A-2\nCOPY <<x <<'y' ctx /d/\n$HOME $A $B $G \\$A\nx\n$A\ny\n"
    found = rewritten(source, {"A": "7"})
    assert found.files == {"0/x": "/root 7 7-2 g $A\n", "0/y": "$A\n"}
    assert found.text.splitlines()[-2:] == ["COPY --from=covey-heredocs /0/x /0/y /d/", "COPY ctx /d/"]


def test_values_from_outside_of_a_stage_are_written_out_because_the_cache_compares_texts() -> None:
    source = (
        "ARG G=1\nFROM base\nARG G\nARG A=1 B=2\n"
        "ENV E=$A-$HOME F='$A' H=${B}\nENV X=$B\nLABEL v=\"$G x\"\nCOPY $A /d/\nENV A=3\nENV I=$A\nRUN echo $G\n"
    )
    lines = rewritten(source, {"A": 'a "$b"'}).text.splitlines()[4:]
    assert lines == [
        'ENV E="a \\"\\$b\\"-/root" F="\\$A" H=2',
        "ENV X=$B",
        'LABEL v="1 x"',
        'COPY "a \\"\\$b\\"" /d/',
        "ENV A=3",
        "ENV I=$A",
        "RUN echo $G",
    ]
    assert rewritten(source, {"A": "x"}).shown["COPY x /d/"] == "COPY $A /d/"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("FROM base\nRUN --mount=type=ssh x\n", "line 2: RUN --mount=type=ssh is not supported"),
        ("FROM base\nRUN --network=host x\n", "line 2: RUN --network is not supported"),
        ("FROM --platform=linux/s390x base\n", "a build for the platform linux/s390x is not supported"),
    ],
)
def test_what_buildah_cannot_do_is_refused_by_name(source: str, message: str) -> None:
    with pytest.raises(UnsupportedError, match=message):
        rewritten(source)


@pytest.mark.parametrize("source", ["RUN x\nFROM a\n", "FROM a b\n", "FROM ${NOPE}\n", "FROM ${A\n"])
def test_malformed_stages_are_refused(source: str) -> None:
    with pytest.raises(InvalidArgumentError):
        planned(source)
