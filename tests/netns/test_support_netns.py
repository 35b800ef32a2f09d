"""The helper the other root tests stand on."""

import os

import pytest

from tests.support.netns import Namespace, namespace, veth


def inode(path: str) -> int:
    return os.stat(path).st_ino


def test_the_namespace_is_fresh_and_the_caller_stays_where_it_was(ns: Namespace) -> None:
    assert ns.call(inode, "/proc/thread-self/ns/net") == inode(ns.path) != inode("/proc/thread-self/ns/net")
    assert ns.run(["readlink", "/proc/self/ns/net"]).strip() == f"net:[{inode(ns.path)}]"
    assert [line.split(":")[1] for line in ns.run(["ip", "-o", "link"]).splitlines()] == [" lo"]


def test_a_failing_command_tells_why(ns: Namespace) -> None:
    with pytest.raises(AssertionError, match="nosuch"):
        ns.run(["ip", "link", "show", "nosuch"])


def test_a_cable_carries_packets(ns: Namespace) -> None:
    with namespace() as other:
        veth(ns, "a0", other, "b0", a_address="10.9.0.1/24", b_address="10.9.0.2/24")
        ns.run(["ping", "-c1", "-W2", "10.9.0.2"])
