"""What can go wrong for a user of the command line, and the exit status of each."""

from __future__ import annotations

FAILED = 1
USAGE = 2
UNREACHABLE = 125
NOT_STARTED = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127
INTERRUPTED = 130
BROKEN_PIPE = 141


class CliError(Exception):
    """Ends the command with a message. hint: what to do, on lines of its own, or ""."""

    status = FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(CliError):
    """The command line itself is wrong; nothing was asked of the daemon."""

    status = USAGE


class Unreachable(CliError):
    """The daemon could not be reached, or what answered does not speak HTTP: its state is unknown."""

    status = UNREACHABLE


class ApiError(CliError):
    """The daemon answered with an error. code: the HTTP status; message: the daemon's own text."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
