"""Assembler for BPF: instructions and labels to the bytes that the kernel verifies. Pure.

Opcodes: linux/bpf.h and linux/bpf_common.h. Registers are numbers: 0 is the result, 1 to 5 are arguments, 6 to 9 survive calls, 10 is
the stack frame.
"""

from __future__ import annotations

import struct

_INSTRUCTION = struct.Struct("=BBhi")
_MOVE_REGISTER, _MOVE_VALUE, _ADD_VALUE = 0xBF, 0xB7, 0x07
_LOAD_32, _STORE_32, _STORE_64, _LOAD_64_VALUE = 0x61, 0x63, 0x7B, 0x18
_JUMP_EQUAL, _JUMP_NOT_EQUAL, _JUMP_NOT_EQUAL_REGISTER = 0x15, 0x55, 0x5D
_CALL, _EXIT = 0x85, 0x95
_MAP_FD = 1  # the value of a 64-bit load is the file descriptor of a map


class Program:
    """A program that is being written. Every method appends instructions and returns the program."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._labels: dict[str, int] = {}
        self._jumps: list[tuple[int, str]] = []

    def move(self, to: int, source: int) -> Program:
        return self._append(_MOVE_REGISTER, to, source)

    def set(self, to: int, value: int) -> Program:
        """The value is extended by its sign to 64 bits."""
        return self._append(_MOVE_VALUE, to, value=value)

    def set_64(self, to: int, value: int) -> Program:
        low, high = struct.unpack("=ii", struct.pack("=Q", value))
        self._append(_LOAD_64_VALUE, to, value=low)
        return self._append(0, 0, value=high)

    def set_map(self, to: int, fd: int) -> Program:
        self._append(_LOAD_64_VALUE, to, _MAP_FD, value=fd)
        return self._append(0, 0)

    def add(self, to: int, value: int) -> Program:
        return self._append(_ADD_VALUE, to, value=value)

    def load_32(self, to: int, base: int, offset: int) -> Program:
        return self._append(_LOAD_32, to, base, offset)

    def store_32(self, base: int, offset: int, source: int) -> Program:
        return self._append(_STORE_32, base, source, offset)

    def store_64(self, base: int, offset: int, source: int) -> Program:
        return self._append(_STORE_64, base, source, offset)

    def jump_if_zero(self, register: int, label: str) -> Program:
        return self._jump(_JUMP_EQUAL, label, register)

    def jump_unless(self, register: int, value: int, label: str) -> Program:
        return self._jump(_JUMP_NOT_EQUAL, label, register, value=value)

    def jump_unless_same(self, register: int, other: int, label: str) -> Program:
        return self._jump(_JUMP_NOT_EQUAL_REGISTER, label, register, other)

    def call(self, helper: int) -> Program:
        return self._append(_CALL, 0, value=helper)

    def label(self, name: str) -> Program:
        self._labels[name] = len(self._code)
        return self

    def leave(self, result: int) -> Program:
        return self.set(0, result)._append(_EXIT, 0)

    def assemble(self) -> bytes:
        """The bytes of the program. A jump to a label that was never set is a KeyError."""
        code = list(self._code)
        for at, label in self._jumps:
            operation, registers, _, value = code[at]
            code[at] = (operation, registers, self._labels[label] - at - 1, value)
        return b"".join(_INSTRUCTION.pack(*instruction) for instruction in code)

    def _jump(self, operation: int, label: str, register: int, other: int = 0, value: int = 0) -> Program:
        self._jumps.append((len(self._code), label))
        return self._append(operation, register, other, value=value)

    def _append(self, operation: int, to: int, source: int = 0, offset: int = 0, value: int = 0) -> Program:
        self._code.append((operation, to | source << 4, offset, value))
        return self
