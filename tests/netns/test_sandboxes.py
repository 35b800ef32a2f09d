"""The `Sandboxes` contract on the real kernel, with `ip -json` as the second opinion and real packets."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.netns import Namespace, namespace
from tests.support.sandboxes_conformance import Env, SandboxesConformance, interface, second
from towline.kernel.netns import inside
from towline.kernel.rtnl import RtnlLinks
from towline.kernel.sandboxes import RealSandboxes
from towline.kernel.sysctl import ProcSysctl
from towline.model.desired import Defaults

_CLONE_NEWNS, _MS_REC_PRIVATE = 0x20000, 0x44000
_libc = ctypes.CDLL(None, use_errno=True)


class Inside:
    """Every call of the target runs in the namespace's thread."""

    def __init__(self, ns: Namespace, target: object) -> None:
        self._ns = ns
        self._target = target

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._target, name)
        return lambda *args: self._ns.call(method, *args)


def _private_mounts() -> None:
    """What the thread mounts is seen by nobody else, and gone with it."""
    assert _libc.unshare(_CLONE_NEWNS) == 0
    assert _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None) == 0


@pytest.fixture
def host(ns: Namespace) -> Namespace:
    ns.call(_private_mounts)
    return ns


@pytest.fixture
def sandboxes(host: Namespace) -> Iterator[Any]:
    made = host.call(RealSandboxes, ProcSysctl())
    yield Inside(host, made)
    made.close()


@pytest.fixture
def env(host: Namespace, sandboxes: Any, tmp_path: Path) -> Iterator[Env]:
    links = host.call(RtnlLinks, ProcSysctl())
    with ExitStack() as stack:

        def foreign() -> str:
            made = stack.enter_context(namespace())
            for command in (
                "ip link add eth9 type veth peer name eth8",
                "ip link set eth8 up",
                "ip link set eth9 addrgenmode none up",
                "ip link set eth8 addrgenmode none",
                "ip address add 192.168.7.3/24 dev eth9",
                "ip address add fd07::3/64 dev eth9 nodad",
                "ip route add default via 192.168.7.1",
                "ip route add default via fd07::1",
            ):
                made.run(command.split())
            return made.path

        (tmp_path / "file").write_text("something")
        yield Env(
            sandboxes,
            Inside(host, links),  # type: ignore[arg-type]
            f"{tmp_path}/run/netns",
            foreign,
            host=host.path,
            file=f"{tmp_path}/file",
            sysctl=lambda path, key: within(host, path, "cat", f"/proc/sys/{key}").strip(),
        )
    links.close()


def within(host: Namespace, path: str, *command: str) -> str:
    return host.run(["nsenter", f"--net={path}", *command])


def ip(host: Namespace, path: str, *command: str) -> Any:
    return json.loads(within(host, path, "ip", "-json", "-details", *command))


class TestRealSandboxes(SandboxesConformance):
    pass
