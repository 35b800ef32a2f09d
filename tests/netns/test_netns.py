"""Entering namespaces and the settings seen from inside."""

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import Namespace
from towline.kernel.netns import NamespaceWorker, fresh, inside
from towline.kernel.sysctl import ProcSysctl
from towline.model.errors import KernelError, NamespaceGone, NotANamespace

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


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/nosuch", NamespaceGone),
        ("/etc/passwd/x", NamespaceGone),
        (f"/proc/{2**22 + 1}/ns/net", NamespaceGone),
        ("", NamespaceGone),
        ("/proc/self/ns/uts", NotANamespace),
        ("/proc/self/stat", NotANamespace),
        ("/dev/null", NotANamespace),
        ("/etc", NotANamespace),
        ("/a\0b", NotANamespace),
        ("/" + "x" * 300, NotANamespace),
    ],
)
def test_what_is_no_network_namespace_is_refused(worker: NamespaceWorker, path: str, error: type[Exception]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(error, match="network namespace"):
        worker.run(path, here)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_fifo_is_refused_without_waiting_for_its_writer(worker: NamespaceWorker, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(NotANamespace):
        worker.run(str(tmp_path / "pipe"), here)


def test_the_namespace_of_a_zombie_is_gone(worker: NamespaceWorker) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(NamespaceGone):
        worker.run(f"/proc/{process.pid}/ns/net", here)
    process.wait()


def test_a_fresh_namespace_ends_with_the_block() -> None:
    home = here()
    with fresh():
        assert here() != home
        assert os.listdir("/proc/thread-self/net/dev_snmp6") == ["lo"]
    assert here() == home


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
