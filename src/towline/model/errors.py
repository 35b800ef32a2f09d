"""The one error tree. Types are for code, messages for people: object, cause, remedy; Docker's text where it has one.

`model.status` maps these classes to HTTP statuses in one table; nothing else knows about statuses.
The classes mirror Docker's errdefs, so that the same mistake gets the same status as from dockerd.
"""

from os import strerror


class TowlineError(Exception):
    """Root of every error this engine raises on purpose."""


class InvalidParameter(TowlineError):
    """The request itself is wrong (400)."""


class NotFound(TowlineError):
    """The named object does not exist (404). Never used for "could not read"."""


class Forbidden(TowlineError):
    """The request is understood and refused by a rule (403)."""


class Conflict(TowlineError):
    """The object exists already, or is in a state that excludes the request (409)."""


class Unavailable(TowlineError):
    """A resource is exhausted or a service is away; trying again later may work (503)."""


class Unsupported(TowlineError):
    """Known and not implemented here (501)."""


class Failure(TowlineError):
    """Anything Docker answers with 500: the request was fine, carrying it out was not."""


class KernelError(Failure):
    """The kernel refused a message.

    errno: positive. operation: what we asked, in words. detail: the kernel's extended acknowledgement text, or "".
    """

    def __init__(self, errno: int, operation: str, detail: str = "") -> None:
        reason = strerror(errno).lower()
        super().__init__(f"{operation}: {reason}" + (f" ({detail})" if detail else ""))
        self.errno = errno
        self.operation = operation
        self.detail = detail
        self.reason = reason


class NamespaceGone(NotFound):
    """There is nothing at the path of a network namespace."""


class NotANamespace(InvalidParameter):
    """The path names something else than a network namespace."""


class ProcessGone(NotFound):
    """No process has this pid, or the one that was meant has ended."""


class NotAProcess(InvalidParameter):
    """The pid is not of a process that can be a sandbox."""


class StoreError(Failure):
    """The store could not be read or written (disk full, read-only, I/O error). State in memory is unchanged."""


class StoreCorrupt(StoreError):
    """The store's file failed its integrity check, or holds what no codec version of ours wrote."""


class RevisionConflict(StoreError):
    """The store moved on since the caller's snapshot: plan again, never patch the plan."""


class ConfigError(TowlineError):
    """A flag or the configuration file is wrong; the message names file, line and key."""
