"""Malformed JSON: the message of Go's decoder, and what is read although a strict decoder refuses it."""

import pytest

from covey.errors import InvalidArgumentError
from engine.request_context import decode_json
from engine.translate.go_json import MAX_DEPTH, syntax_error


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "unexpected EOF"),
        (b"{", "unexpected EOF"),
        (b'{"a": "b', "unexpected EOF"),
        (b"tru", "unexpected EOF"),
        (b"nonsense", "invalid character 'o' in literal null (expecting 'u')"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b"\xff", "invalid character 'ÿ' looking for beginning of value"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"{a: 1}", "invalid character 'a' looking for beginning of object key string"),
        (b"{'a': 1}", r"invalid character '\'' looking for beginning of object key string"),
        (b'{"a": 1,}', "invalid character '}' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a": 1 "b": 2}', "invalid character '\"' after object key:value pair"),
        (b'{"a": 01}', "invalid character '1' after object key:value pair"),
        (b'{"a": }', "invalid character '}' looking for beginning of value"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b'"\\u12g4"', "invalid character 'g' in \\u hexadecimal character escape"),
        (b'"\n"', r"invalid character '\n' in string literal"),
        (b'"\x01"', r"invalid character '\x01' in string literal"),
        (b"-x", "invalid character 'x' in numeric literal"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
        (b"1e+x", "invalid character 'x' in exponent of numeric literal"),
        (b"[" * (MAX_DEPTH + 1), "exceeded max depth"),
    ],
)
def test_a_mistake_has_the_words_of_go(text: bytes, message: str) -> None:
    assert syntax_error(text) == message


@pytest.mark.parametrize(
    "text", [b"{}", b"[]", b' {"a": [1, -2.5e3, null, {"b": "\\u00e9\\n"}]} ', b"3", b'""', b"false"]
)
def test_a_value_has_no_mistake(text: bytes) -> None:
    assert syntax_error(text) == ""
    decode_json(text)


def test_what_go_reads_is_read() -> None:
    """Bytes that are not UTF-8, and half of a surrogate pair, become a replacement that can be written again."""
    assert decode_json(b'{"a": "x\xffy"}') == {"a": "x�y"}
    assert decode_json(b'{"a": "\\ud800"}') == {"a": "?"}


@pytest.mark.parametrize("text", [b"{}{}", b"{} x", b"1 2"])
def test_content_behind_the_value_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="^unexpected content after JSON$"):
        decode_json(text)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * (1 << 20)])
def test_deep_nesting_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="^invalid JSON"):
        decode_json(text)
