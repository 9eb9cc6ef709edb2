"""The YAML reader: scalar types as Compose's parsers see them, places, refusals and limits."""

import time

import pytest

from compose.errors import ComposeFileError
from compose.nodes import MappingNode, ScalarNode, plain, walk
from compose.yaml_reader import MAX_BYTES, read_yaml
from covey.errors import TooLargeError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("True", True),
        ("0777", 511),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("1_000", 1000),
        ("+5", 5),
        ("-0", 0),
        ("08", 8.0),
        ("22:22", "22:22"),
        ("2001-01-01", "2001-01-01 00:00:00 +0000 UTC"),
        ("1.50", 1.5),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1e400", "1e400"),
        ("12345678901234567890", 12345678901234567890),
        ("~", None),
        ("", None),
        ("!!str 5", "5"),
        ("'5'", "5"),
        ("=", "="),
        ("1.2.3", "1.2.3"),
        ("-", "-"),
    ],
)
def test_a_plain_scalar_has_the_type_that_compose_gives_it(text: str, value: object) -> None:
    source = f"a: {text}" if text != "-" else "a: '-'"
    read = plain(read_yaml(source, "f"))["a"]
    assert read == value
    assert type(read) is type(value)


def test_every_node_knows_its_place_and_merge_keys_keep_it() -> None:
    root = read_yaml("x: &base\n  a: 1\n  b: 2\nc:\n  <<: *base\n  b: 3\n", "f.yaml")
    assert plain(root)["c"] == {"b": 3, "a": 1}
    places = {path: node.location for path, node in walk(root) if isinstance(node, ScalarNode)}
    assert str(places["c.a"]) == "f.yaml:2:6"
    assert str(places["c.b"]) == "f.yaml:6:6"
    merged = root.items["c"]
    assert isinstance(merged, MappingNode)
    assert str(merged.keys["b"]) == "f.yaml:6:3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "f:2:1: did not find expected ',' or ']'"),
        ("a: 1\nb: 2\na: 3", 'f:3:1: mapping key "a" already defined at line 1'),
        ("- a", "f:1:1: top-level object must be a mapping"),
        ("", "f:1:1: empty compose file"),
        ("a: !python/object 3", "f:1:4: the tag !python/object has no meaning in a Compose file"),
        ("a:\n\tb: 1", "f:2:1: found character that cannot start any token"),
        ("a: *missing", "f:1:4: found undefined alias"),
        ("a: &a [*a]", "f:1:8: the value of anchor a contains itself"),
        ("a: &a {<<: *a}", "f:1:12: the value of anchor a contains itself"),
        ("a: &a 1\n---\nb: *a", "f:3:4: found undefined alias"),
        ("a: b\n\u0001c: d", "f:2:1: not YAML: control characters are not allowed"),
        ("a: !!binary '?'", "f:1:4: !!binary is not base64 of a UTF-8 text"),
        ("1: a", "f:1:1: non-string key: 1; write it in quotes"),
        ("a: {true: b}", "f:1:5: non-string key: true; write it in quotes"),
        ("a: {2001-01-01: b}", "f:1:5: non-string key: 2001-01-01; write it in quotes"),
        ("a: {~: b}", "f:1:5: non-string key: ~; write it in quotes"),
        ("? [a]\n: 1", "f:1:3: a key must be a text"),
        ("a: 1\n---\n- b", "f:3:1: top-level object must be a mapping"),
        ("a:\n  <<: 3", "f:2:3: map merge requires map or sequence of maps as the value"),
    ],
)
def test_what_is_not_a_compose_file_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ComposeFileError) as caught:
        read_yaml(text, "f")
    assert caught.value.message.startswith(message)


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: " + "[" * 100 + "]" * 100,
        "a: " + "[" * 100_000,
        "a: " + "{a: " * 100_000,
        "- " * 100_000,
        "a: " + "x" * MAX_BYTES,
        "---\na: 1\n" * 50_000,
        "a: &a {k: v}\nb: [" + "*a," * 45_000 + "]",
        "a: &a {" + ",".join(f"k{n}: v" for n in range(200)) + "}\nb: [" + "{<<: *a}," * 400 + "]",
    ],
    ids=["aliases", "nested", "open lists", "open mappings", "dashes", "long", "documents", "one alias", "merge keys"],
)
def test_files_that_grow_without_end_are_refused_within_two_seconds(text: str) -> None:
    started = time.process_time()
    with pytest.raises(TooLargeError):
        read_yaml(text, "f")
    assert time.process_time() - started < 2
