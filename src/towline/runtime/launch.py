"""Everything a shim must know to start one command, and its form on the pipe between daemon and shim.

A plain class where the house uses msgspec: it is also what the shim reads, and msgspec costs a shim half its memory.
"""

from __future__ import annotations

import os


class Launch:
    """One start of one sandbox. `check.check_launch` says what is allowed in it.

    netns: path of a network namespace. files: (source, target): each source is seen at target, inside only.
    environment: "KEY=VALUE". state: directory for the records of process and exit. log: where a detached command's
    output goes, "" in the foreground. sysctls: (name as for sysctl(8), value), written inside. hidden: directories and
    files of the host that are empty inside (`check.daemon_places`).
    """

    __slots__ = (
        "command",
        "directory",
        "environment",
        "files",
        "hidden",
        "hostname",
        "log",
        "netns",
        "sandbox",
        "state",
        "sysctls",
    )

    def __init__(
        self,
        *,
        sandbox: str,
        netns: str,
        hostname: str,
        command: tuple[str, ...],
        state: str,
        files: tuple[tuple[str, str], ...] = (),
        environment: tuple[str, ...] = (),
        directory: str = "/",
        log: str = "",
        sysctls: tuple[tuple[str, str], ...] = (),
        hidden: tuple[str, ...] = (),
    ) -> None:
        self.sandbox = sandbox
        self.netns = netns
        self.hostname = hostname
        self.command = command
        self.state = state
        self.files = files
        self.environment = environment
        self.directory = directory
        self.log = log
        self.sysctls = sysctls
        self.hidden = hidden

    def encode(self) -> bytes:
        """Length in ten digits, then texts ended by NUL (none can contain one); a list begins with its count."""
        single = (self.sandbox, self.netns, self.hostname, self.state, self.directory, self.log)
        files, sysctls = (tuple(text for pair in pairs for text in pair) for pairs in (self.files, self.sysctls))
        parts = list(single)
        for many in (self.command, self.environment, files, sysctls, self.hidden):
            parts += (str(len(many)), *many)
        body = b"".join(os.fsencode(part) + b"\0" for part in parts)
        return b"%010d" % len(body) + body


def decode_launch(body: bytes) -> Launch:
    """What `Launch.encode` wrote, without the length."""
    parts = iter([os.fsdecode(part) for part in body.split(b"\0")[:-1]])

    def many() -> tuple[str, ...]:
        return tuple([next(parts) for _ in range(int(next(parts)))])

    sandbox, netns, hostname, state, directory, log = (next(parts) for _ in range(6))
    command, environment, files, sysctls, hidden = many(), many(), many(), many(), many()
    return Launch(
        sandbox=sandbox,
        netns=netns,
        hostname=hostname,
        state=state,
        directory=directory,
        log=log,
        command=command,
        environment=environment,
        files=tuple(zip(files[::2], files[1::2], strict=True)),
        sysctls=tuple(zip(sysctls[::2], sysctls[1::2], strict=True)),
        hidden=hidden,
    )


def read_launch(fd: int) -> Launch | None:
    """One encoded launch from a pipe; None if the writer went away before its end."""
    head = _read_exactly(fd, 10)
    body = _read_exactly(fd, int(head)) if head else None
    return decode_launch(body) if body else None


def _read_exactly(fd: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            return None
        data += more
    return data
