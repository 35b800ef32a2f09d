"""Work in a namespace's own thread, in its own view of mounts."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from tests.support.netns import Namespace

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


def private_mounts() -> None:
    """What the thread mounts is seen by nobody else, and gone with it."""
    assert _libc.unshare(_CLONE_NEWNS) == 0
    assert _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC_PRIVATE), None) == 0
