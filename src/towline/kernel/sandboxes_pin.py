"""Pins: a network namespace without a process, held by a bind mount of its file, so that it outlives the daemon.

A pin is a mount point on an empty file. A file without its mount is what a crash or a reboot leaves; `make` takes it
over, `drop` removes it. Nothing else at such a path is ever touched.

Mount propagation: the pin is made in the mount namespace of the daemon and goes where the directory's mount propagates
to, which on a host with a shared root is wherever an administrator looks. Copies that private mount namespaces took
along (a container started meanwhile) do not keep the namespace alive: `drop` unlinks the file, and with its mount point
the kernel takes away every mount on it, in all mount namespaces.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat

from towline.kernel.netlink import NetlinkSocket
from towline.kernel.netns import HERE, fresh, opened
from towline.kernel.rtnl_codec import NETLINK_ROUTE, set_named_link
from towline.model.errors import KernelError, NamespaceGone, NotANamespace

_MS_BIND = 0x1000
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_libc = ctypes.CDLL(None, use_errno=True)


def make(path: str) -> None:
    """A new namespace with lo up, pinned at `path`; the directory is made with mode 0700 if it is absent.

    KernelError: EEXIST if a namespace or anything but a crash's empty file is there; EPERM, ENOSPC, EROFS. After an
    error nothing is left.
    """
    operation = f"pin network namespace {path}"
    if is_pinned(path):
        raise KernelError(errno.EEXIST, operation, "a namespace is pinned there already")
    _make_file(path, operation)
    try:
        with fresh():
            _raise_loopback(operation)
            _mount(HERE, path, operation)
    except BaseException:
        os.unlink(path)
        raise


def adopt(path: str, source: str) -> None:
    """Pin the namespace at `source` at `path` as well. Errors as `make`, and those of a source that is none."""
    operation = f"pin network namespace {path}"
    with opened(source) as fd:
        if is_pinned(path):
            raise KernelError(errno.EEXIST, operation, "a namespace is pinned there already")
        _make_file(path, operation)
        try:
            _mount(f"/proc/thread-self/fd/{fd}", path, operation)
        except BaseException:
            os.unlink(path)
            raise


def drop(path: str) -> None:
    """Unpin. Absent is no error. NotANamespace if there is something that `make` did not make; it stays."""
    operation = f"unpin network namespace {path}"
    while is_pinned(path):
        if _libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW):
            raise KernelError(ctypes.get_errno(), operation)
    found = _lstat(path)
    if found is None:
        return
    if not _is_leftover(found):
        raise NotANamespace(f"{path} is not a pinned network namespace: it is left alone")
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, operation) from error


def pinned(directory: str) -> list[str]:
    """Paths of the namespaces pinned in a directory, and of what a crash left of pins, sorted; [] if there is no such
    directory."""
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, f"list network namespaces in {directory}") from error
    return [path for name in names if _is_ours(path := os.path.join(directory, name))]


def is_pinned(path: str) -> bool:
    """Whether a namespace is mounted right at this path (a link to one is no pin)."""
    found = _lstat(path)
    if found is None or not stat.S_ISREG(found.st_mode):
        return False
    try:
        with opened(path):
            return True
    except (NamespaceGone, NotANamespace):
        return False


def _is_ours(path: str) -> bool:
    found = _lstat(path)
    return found is not None and (_is_leftover(found) or is_pinned(path))


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise NotANamespace(f"{path!r} is no path of a network namespace: {error}") from error


def _is_leftover(found: os.stat_result) -> bool:
    return stat.S_ISREG(found.st_mode) and found.st_size == 0


def _make_file(path: str, operation: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as error:
        found = _lstat(path)
        if found is None or not _is_leftover(found):
            raise KernelError(errno.EEXIST, operation, "something else is at this path") from error
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, operation) from error


def _raise_loopback(operation: str) -> None:
    sock = NetlinkSocket(NETLINK_ROUTE)
    try:
        (ack,) = sock.transact([set_named_link("lo", up=True)])
    finally:
        sock.close()
    if ack.errno:
        raise KernelError(ack.errno, f"{operation}: set lo up", ack.text)


def _mount(source: str, target: str, operation: str) -> None:
    if _libc.mount(source.encode(), os.fsencode(target), None, ctypes.c_ulong(_MS_BIND), None):
        raise KernelError(ctypes.get_errno(), operation)
