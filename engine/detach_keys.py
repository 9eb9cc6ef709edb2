"""Detach key sequence of an attached terminal (``ctrl-p,ctrl-q``): parser and matcher. Pure."""

from covey.errors import InvalidArgumentError

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """The bytes of ``ctrl-p,ctrl-q`` or ``a,b``; the default for an empty text."""
    keys = bytearray()
    for key in (text or DEFAULT_DETACH_KEYS).split(","):
        letter = key.lower().removeprefix("ctrl-")
        if key.lower().startswith("ctrl-") and len(letter) == 1:
            code = ord(letter) - ord("a") + 1 if letter.isascii() and letter.isalpha() else _SPECIAL.get(letter, -1)
        else:
            code = ord(key) if len(key) == 1 and ord(key) < 128 else -1
        if code < 0:
            raise InvalidArgumentError(f"invalid detach keys ({text}) provided: unknown key {key!r}")
        keys.append(code)
    return bytes(keys)


class DetachKeyMatcher:
    """Takes what a client types; holds a possible beginning of the sequence back until it is clear."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What goes on to the process, and whether the whole sequence has come."""
        out = bytearray()
        for byte in data:
            if byte == self._sequence[self._held]:
                self._held += 1
                if self._held == len(self._sequence):
                    return bytes(out), True
                continue
            out += self._sequence[: self._held]
            self._held = 1 if byte == self._sequence[0] else 0
            if not self._held:
                out.append(byte)
        return bytes(out), False
