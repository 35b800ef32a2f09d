"""Which processes are in a sandbox, from /proc, as `ps -ef` shows them."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator

import msgspec

from towline.model.sandbox import Sandbox

TITLES = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]

_TICKS = os.sysconf("SC_CLK_TCK")


class _Process(msgspec.Struct, frozen=True):
    """started, used: seconds since boot, seconds of processor time."""

    pid: int
    parent: int
    user: int
    started: float
    used: float
    command: str


def table(sandbox: Sandbox) -> list[list[str]]:
    """One row of `TITLES` for each process. Those in the sandbox's namespace; on the host's network, the sandbox's own
    process and what descends from it."""
    found = {process.pid: process for process in _all()}
    root = sandbox.process.pid if sandbox.process else 0
    inside = _namespace(sandbox.netns or f"/proc/{root}/ns/net")
    if inside is None or inside == _namespace("/proc/self/ns/net"):
        members = _descendants(root, found)
    else:
        members = [p for p in found.values() if _namespace(f"/proc/{p.pid}/ns/net") == inside]
    return [_row(process, time.clock_gettime(time.CLOCK_BOOTTIME)) for process in members]


def _all() -> Iterator[_Process]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (process := _read(int(name))) is not None:
            yield process


def _read(pid: int) -> _Process | None:
    """None if it is gone meanwhile."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            before, _, after = file.read().rpartition(b") ")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().rstrip(b"\0").replace(b"\0", b" ")
        user = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None
    fields = after.split()
    name = before.partition(b"(")[2]
    command = (arguments or b"[" + name + b"]").decode("utf-8", "replace")
    used = (int(fields[11]) + int(fields[12])) / _TICKS
    return _Process(pid, int(fields[1]), user, int(fields[19]) / _TICKS, used, command)


def _namespace(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _descendants(root: int, processes: dict[int, _Process]) -> list[_Process]:
    members = {root}
    for process in sorted(processes.values(), key=lambda p: p.started):
        if process.parent in members:
            members.add(process.pid)
    return [processes[pid] for pid in sorted(members) if pid in processes]


def _row(process: _Process, uptime: float) -> list[str]:
    age = max(uptime - process.started, 0.001)
    clock = time.strftime("%H:%M" if age < 86400 else "%b%d", time.localtime(time.time() - age))
    minutes, seconds = divmod(int(process.used), 60)
    hours, minutes = divmod(minutes, 60)
    share = str(min(int(process.used / age * 100), 99))
    used = f"{hours:02}:{minutes:02}:{seconds:02}"
    return [_user(process.user), str(process.pid), str(process.parent), share, clock, "?", used, process.command]


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
