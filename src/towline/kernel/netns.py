"""Work inside another network namespace, without a process.

A thread enters the namespace (2 us), works there and comes back. Only a dedicated worker thread does this, so that the
event loop's thread never leaves home. Sockets opened inside stay in that namespace; /proc/sys/net follows the thread.
Start no thread inside, not by an executor either: it would stay there and keep the namespace alive.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fcntl import ioctl
from typing import TypeVar

from towline.model.errors import KernelError, NamespaceGone, NotANamespace

T = TypeVar("T")

HERE = "/proc/thread-self/ns/net"
_CLONE_NEWNET = 0x40000000
_NS_GET_NSTYPE = 0xB703
_OPEN = os.O_RDONLY | os.O_CLOEXEC
_NOTHING_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ESRCH)
_NO_PATH = (errno.ELOOP, errno.ENAMETOOLONG)


if sys.version_info >= (3, 12):

    def _setns(fd: int) -> None:
        os.setns(fd, _CLONE_NEWNET)

    def _unshare() -> None:
        os.unshare(_CLONE_NEWNET)

else:
    _libc = ctypes.CDLL(None, use_errno=True)

    def _setns(fd: int) -> None:
        _check(_libc.setns(fd, _CLONE_NEWNET))

    def _unshare() -> None:
        _check(_libc.unshare(_CLONE_NEWNET))

    def _check(result: int) -> None:
        if result:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor of the network namespace at this path, for the duration of the block.

    Hostile paths are safe: what is no regular file (a FIFO, a device) is looked at, never opened. NamespaceGone if
    there is nothing at the path (also: the process has ended), NotANamespace if it is something else, KernelError
    (EACCES, EMFILE) if it cannot be opened.
    """
    fd = _open(path)
    try:
        yield fd
    finally:
        os.close(fd)


def _open(path: str) -> int:
    try:
        found = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            fd = os.open(f"/proc/self/fd/{found}", _OPEN) if stat.S_ISREG(os.fstat(found).st_mode) else -1
        finally:
            os.close(found)
    except ValueError as error:
        raise NotANamespace(f"{path!r} is not a network namespace: no path contains a NUL") from error
    except OSError as error:
        raise _unopened(path, error.errno or errno.EIO) from error
    if fd < 0:
        raise NotANamespace(f"{path} is not a network namespace")
    if not _is_network_namespace(fd):
        os.close(fd)
        raise NotANamespace(f"{path} is not a network namespace")
    return fd


def _unopened(path: str, code: int) -> Exception:
    if code in _NOTHING_THERE:
        return NamespaceGone(f"there is no network namespace at {path}: it was removed, or its process has ended")
    if code in _NO_PATH:
        return NotANamespace(f"{path} is not a network namespace: {os.strerror(code).lower()}")
    return KernelError(code, f"open network namespace {path}")


def _is_network_namespace(fd: int) -> bool:
    try:
        return ioctl(fd, _NS_GET_NSTYPE) == _CLONE_NEWNET
    except OSError:
        return False


def identity(fd: int) -> tuple[int, int]:
    """Equal for two descriptors exactly when they are of the same namespace."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Move the calling thread into the namespace at this path for the duration of the block.

    Guarantee: whatever happens in the block, the thread is back afterwards, or the process is gone (abort): a thread
    that stayed would configure the wrong network. Raises what `opened` raises, and KernelError (EPERM) if entering is
    not allowed; then the thread has not moved.
    """
    with opened(namespace) as fd, entered(fd, namespace):
        yield


@contextmanager
def entered(fd: int, path: str) -> Iterator[None]:
    """Like `inside`, by a descriptor. path: for the error's text."""
    with _away(lambda: _setns(fd), f"enter network namespace {path}"):
        yield


@contextmanager
def fresh() -> Iterator[None]:
    """Move the calling thread into a new namespace, with the guarantee of `inside`. The namespace ends with the block
    unless something holds it. KernelError: EPERM, ENOSPC (too many namespaces), ENOMEM."""
    with _away(_unshare, "make a network namespace"):
        yield


@contextmanager
def _away(leave: Callable[[], None], operation: str) -> Iterator[None]:
    home = os.open(HERE, _OPEN)
    try:
        try:
            leave()
        except OSError as error:
            raise KernelError(error.errno or errno.EIO, operation) from error
        try:
            yield
        finally:
            _return(home)
    finally:
        os.close(home)


def _return(home: int) -> None:
    try:
        _setns(home)
    except OSError:
        os.abort()


class NamespaceWorker:
    """The one thread that enters namespaces. Calls from several threads take turns."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="netns")

    def run(self, namespace: str, function: Callable[[], T]) -> T:
        """What `function` answers or raises when called inside; KernelError as `inside` says. Blocks."""

        def work() -> T:
            with inside(namespace):
                return function()

        return self._pool.submit(work).result()

    def close(self) -> None:
        """Wait for the work under way and end the thread."""
        self._pool.shutdown()
