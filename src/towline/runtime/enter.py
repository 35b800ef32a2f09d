"""Going into a sandbox: the system calls that Python 3.11 has no name for.

A sandbox isolates the network. It also has its own view of a few files, its own /sys and its own hostname; processes,
users, the rest of the file system and all capabilities are the host's.
"""

from __future__ import annotations

import ctypes
import os

from towline.runtime.launch import Launch

_NEWNS, _NEWUTS, _NEWNET = 0x00020000, 0x04000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _SLAVE = 1, 2, 4, 8, 4096, 16384, 1 << 19
_PDEATHSIG, _NAME, _SUBREAPER = 1, 15, 36
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


class Refused(Exception):
    """A step on the way to the command failed. errno: positive, 0 if there is none. what: the step, in words."""

    def __init__(self, errno: int, what: str) -> None:
        super().__init__(errno, what)
        self.errno = errno
        self.what = what

    def __str__(self) -> str:
        return f"{self.what}: {os.strerror(self.errno).lower()}" if self.errno else self.what


def enter_new(launch: Launch) -> None:
    """Move the calling process (one thread) into the network namespace and into new mount and UTS namespaces.

    Raises Refused. Mounts follow the host's (slave): a disk unmounted there is not held here; nothing goes back.
    """
    what = f"enter network namespace {launch.netns}"
    try:
        fd = os.open(launch.netns, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(error.errno or 0, what) from error
    _check(_libc.setns(fd, _NEWNET), what)
    os.close(fd)
    for key, value in launch.sysctls:
        _write_sysctl(key, value)
    _check(_libc.unshare(_NEWNS | _NEWUTS), "make mount and UTS namespaces")
    _check(_mount("none", "/", "", _REC | _SLAVE), "make mounts private")
    for source, target in launch.files:
        _check(_mount(source, target, "", _BIND), f"mount {source} on {target}")
    for place in launch.hidden:
        _hide(place)
    _fresh_sysfs()
    name = os.fsencode(launch.hostname)
    _check(_libc.sethostname(name, len(name)), f"set hostname {launch.hostname}")


def enter_running(pidfd: int) -> None:
    """Move the calling process (one thread) into the namespaces of a process in a sandbox. Raises Refused."""
    _check(_libc.setns(pidfd, _NEWNET | _NEWNS | _NEWUTS), "enter the sandbox")


def die_with(parent: int) -> None:
    """SIGKILL for the calling process when its parent (pid) ends, or at once if it has ended."""
    _libc.prctl(_PDEATHSIG, 9, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(255)


def adopt_orphans() -> None:
    """Descendants whose parent ends become children of the calling process."""
    _check(_libc.prctl(_SUBREAPER, 1, 0, 0, 0), "become subreaper")


def name_process(name: str) -> None:
    """As `ps -o comm` shows it; 15 bytes."""
    _libc.prctl(_NAME, os.fsencode(name), 0, 0, 0)


def _write_sysctl(key: str, value: str) -> None:
    """/proc/sys/net shows the namespace of whoever opens it. In a name "/" stands for a dot that is no separator."""
    path = key.translate({ord("."): "/", ord("/"): "."})
    try:
        fd = os.open(f"/proc/sys/{path}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, os.fsencode(value))
        finally:
            os.close(fd)
    except OSError as error:
        raise Refused(error.errno or 0, f"set sysctl {key} to {value}") from error


def _hide(place: str) -> None:
    """After the files have been mounted: they come from such a place. What is absent, or inside a hidden directory,
    needs nothing."""
    if os.path.isdir(place):
        _check(_mount("tmpfs", place, "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC), f"hide {place}")
    elif os.path.exists(place):
        _check(_mount("/dev/null", place, "", _BIND), f"hide {place}")


def _fresh_sysfs() -> None:
    """/sys of the namespace just entered, with what is mounted below /sys (cgroups, ...) still there. Without the
    right to mount it, the host's /sys stays: only its list of interfaces is then wrong."""
    held = [(target, os.open(target, os.O_PATH | os.O_CLOEXEC)) for target in _mounts_below("/sys/")]
    if _mount("sysfs", "/sys", "sysfs", _NOSUID | _NODEV | _NOEXEC) == 0:
        for target, fd in held:
            _mount(f"/proc/self/fd/{fd}", target, "", _BIND | _REC)
    for _, fd in held:
        os.close(fd)


def _mounts_below(prefix: str) -> list[str]:
    """The outermost mount points below; one whose name needs escapes in mountinfo, or that is hidden, is left out."""
    found: list[str] = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        targets = sorted({line.split(" ", 5)[4] for line in file})
    for target in targets:
        inner = any(target.startswith(f"{outer}/") for outer in found)
        if target.startswith(prefix) and not inner and os.access(target, os.F_OK):
            found.append(target)
    return found


def _mount(source: str, target: str, kind: str, flags: int) -> int:
    return int(_libc.mount(os.fsencode(source), os.fsencode(target), kind.encode() or None, flags, None))


def _check(result: int, what: str) -> None:
    if result:
        raise Refused(ctypes.get_errno(), what)
