"""Fresh network namespaces for root tests.

A namespace lives as long as its worker thread and its file descriptor: nothing is mounted, nothing has to be swept.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from tests.support.needs import need_root

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """A network namespace with lo up. Use `namespace()` to make one.

    path: for setns, nsenter --net= and `ip ... netns`, valid while this process keeps the namespace.
    """

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="netns")
        self.fd = self.call(_unshare)
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"
        self.run(["ip", "link", "set", "lo", "up"])

    def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run `function` in the namespace's own thread. Sockets it opens stay in the namespace; close them."""
        return self._worker.submit(function, *args, **kwargs).result()

    def run(self, command: Sequence[str], *, input: str | None = None, check: bool = True) -> str:
        """Run a command inside; its stdout. A failing one raises with its stderr, unless check=False."""
        done = self.call(subprocess.run, command, input=input, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
        return str(done.stdout)

    def popen(self, command: Sequence[str], **kwargs: Any) -> subprocess.Popen[Any]:
        """Start a process inside. The caller ends it."""
        return self.call(subprocess.Popen, command, **kwargs)

    def close(self) -> None:
        os.close(self.fd)
        self._worker.shutdown()


@contextmanager
def namespace() -> Iterator[Namespace]:
    """A fresh namespace, gone at the end. Needs root."""
    need_root("make network namespaces")
    made = Namespace()
    try:
        yield made
    finally:
        made.close()


def veth(a: Namespace, a_name: str, b: Namespace, b_name: str, *, a_address: str = "", b_address: str = "") -> None:
    """A cable between two namespaces, both ends up; addresses in CIDR are optional."""
    a.run(["ip", "link", "add", a_name, "type", "veth", "peer", "name", b_name, "netns", b.path])
    for where, name, address in ((a, a_name, a_address), (b, b_name, b_address)):
        where.run(["ip", "link", "set", name, "up"])
        if address:
            where.run(["ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else [])])


def _unshare() -> int:
    if _libc.unshare(_CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
