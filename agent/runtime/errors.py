"""Errors of the OCI runtime and conmon, with the exit codes that Docker reports for them."""

import re

from covey.errors import CoveyError

_CRUN_NOT_FOUND = re.compile(r"executable file `([^`]*)` not found in \$PATH(: No such file or directory)?")
_KERNEL_WORDS = ("No such file or directory", "Permission denied", "Is a directory", "Exec format error")


class OciRuntimeError(CoveyError):
    """The runtime could not create the container or the exec. `exit_code` is Docker's: 126, 127 or 128."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        text = message.lower()
        if "executable file not found" in text or "no such file or directory" in text:
            self.exit_code = 127
        elif "permission denied" in text or "is a directory" in text or "exec format error" in text:
            self.exit_code = 126
        else:
            self.exit_code = 128


def clean_message(message: str) -> str:
    """The runtime's error message without its log prefix, in runc's words, which clients tell exit codes from."""
    text = " ".join(message.split())
    if 'msg="' in text:
        text = text.rpartition('msg="')[2].rstrip('"').replace('\\"', '"')
    text = _CRUN_NOT_FOUND.sub(r'exec: "\1": executable file not found in $PATH', text)
    for words in _KERNEL_WORDS:
        text = text.replace(words, words.lower())
    return text.removeprefix("runc create failed: ")
