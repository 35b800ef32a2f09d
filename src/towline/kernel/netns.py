"""Work inside another network namespace, without a process.

A thread enters the namespace (2 us), works there and comes back. Only a dedicated worker thread does this, so that the
event loop's thread never leaves home. Sockets opened inside stay in that namespace; /proc/sys/net follows the thread.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from towline.model.errors import KernelError

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_HERE = "/proc/thread-self/ns/net"
_OPEN = os.O_RDONLY | os.O_CLOEXEC


if sys.version_info >= (3, 12):

    def _setns(fd: int) -> None:
        os.setns(fd, _CLONE_NEWNET)

else:
    _libc = ctypes.CDLL(None, use_errno=True)

    def _setns(fd: int) -> None:
        if _libc.setns(fd, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Move the calling thread into the namespace at this path for the duration of the block.

    Guarantee: whatever happens in the block, the thread is back afterwards, or the process is gone (abort): a thread
    that stayed would configure the wrong network. KernelError if the path cannot be opened (ENOENT, EACCES) or is no
    network namespace (EINVAL), or entering is not allowed (EPERM); then the thread has not moved.
    """
    home = os.open(_HERE, _OPEN)
    try:
        _enter(namespace)
        try:
            yield
        finally:
            _return(home)
    finally:
        os.close(home)


def _enter(namespace: str) -> None:
    operation = f"enter network namespace {namespace}"
    try:
        fd = os.open(namespace, _OPEN)
    except OSError as error:
        raise KernelError(error.errno or 0, operation) from error
    try:
        _setns(fd)
    except OSError as error:
        raise KernelError(error.errno or 0, operation) from error
    finally:
        os.close(fd)


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
