"""Detach key sequence of an attached terminal (``ctrl-p,ctrl-q``): parser and matcher. Pure."""

from covey.errors import InvalidArgumentError

DEFAULT_DETACH_KEYS = "ctrl-p,ctrl-q"
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """The bytes of a sequence such as ``ctrl-p,ctrl-q`` or ``a,b``. An empty text means the default."""
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
    """Finds the sequence in what a client types. A possible beginning of the sequence is held back until it is decided."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """The bytes to pass to the process, and whether the sequence is complete."""
        out = bytearray()
        for byte in data:
            if byte == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    return bytes(out), True
                continue
            out += self._sequence[: self._matched]
            self._matched = 1 if byte == self._sequence[0] else 0
            if not self._matched:
                out.append(byte)
        return bytes(out), False
