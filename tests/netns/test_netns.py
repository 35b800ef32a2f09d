"""Entering namespaces and the settings seen from inside."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.support.netns import Namespace
from towline.kernel.netns import NamespaceWorker, inside
from towline.kernel.sysctl import ProcSysctl
from towline.model.errors import KernelError

FORWARD = "net/ipv4/ip_forward"


@pytest.fixture
def worker() -> Iterator[NamespaceWorker]:
    made = NamespaceWorker()
    yield made
    made.close()


def here() -> int:
    return os.stat("/proc/thread-self/ns/net").st_ino


def test_the_function_runs_inside_and_only_the_worker_moved(ns: Namespace, worker: NamespaceWorker) -> None:
    home = here()
    assert worker.run(ns.path, here) == os.stat(ns.path).st_ino
    assert worker.run("/proc/self/ns/net", here) == home == here()
    assert worker.run(ns.path, threading.get_ident) != threading.get_ident()


def test_an_error_inside_comes_out_and_the_worker_is_home(ns: Namespace, worker: NamespaceWorker) -> None:
    def fail() -> None:
        raise LookupError("inside")

    with pytest.raises(LookupError, match="inside"):
        worker.run(ns.path, fail)
    assert worker.run("/proc/self/ns/net", here) == here()


@pytest.mark.parametrize(("path", "code"), [("/nosuch", errno.ENOENT), ("/proc/self/ns/uts", errno.EINVAL)])
def test_what_is_no_network_namespace_is_refused(worker: NamespaceWorker, path: str, code: int) -> None:
    with pytest.raises(KernelError, match=f"enter network namespace {path}") as caught:
        worker.run(path, here)
    assert caught.value.errno == code


def test_a_thread_that_cannot_come_back_ends_the_process(ns: Namespace) -> None:
    program = f"""
import resource
from towline.kernel import netns
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with netns.inside({ns.path!r}):
    netns._setns = lambda fd: (_ for _ in ()).throw(OSError(1, "no"))
print("still here")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGABRT, "")


def test_settings_are_those_of_the_threads_namespace(ns: Namespace, worker: NamespaceWorker) -> None:
    sysctl = ProcSysctl()
    outside = sysctl.read(FORWARD)
    for value in ("1", "0", "1"):
        worker.run(ns.path, lambda value=value: sysctl.write(FORWARD, value))
        assert worker.run(ns.path, lambda: sysctl.read(FORWARD)) == value
        assert ns.run(["cat", f"/proc/sys/{FORWARD}"]).strip() == value
    assert sysctl.read(FORWARD) == outside


def test_settings_of_links_follow_too(ns: Namespace) -> None:
    ns.run(["ip", "link", "add", "br.dot", "type", "bridge"])
    with inside(ns.path):
        assert ProcSysctl().read("net/ipv4/conf/br.dot/forwarding") == "0"
    assert ProcSysctl().read("net/ipv4/conf/br.dot/forwarding") is None


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("net/ipv4/nosuch", errno.ENOENT),
        ("net/ipv4", errno.EISDIR),
        ("../../etc/hostname", errno.EINVAL),
        ("/etc/hostname", errno.EINVAL),
        ("net//ipv4", errno.EINVAL),
        ("", errno.EINVAL),
        ("net/ipv4/a\0b", errno.EINVAL),
    ],
)
def test_bad_paths_are_refused(ns: Namespace, path: str, code: int) -> None:
    with pytest.raises(KernelError, match="write sysctl") as caught:
        ns.call(ProcSysctl().write, path, "1")
    assert caught.value.errno == code


def test_a_bad_value_is_the_kernels_error(ns: Namespace) -> None:
    with pytest.raises(KernelError) as caught:
        ns.call(ProcSysctl().write, FORWARD, "many")
    assert caught.value.errno == errno.EINVAL
