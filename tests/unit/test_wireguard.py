"""WireGuard on a real kernel, what needs none: who encrypts, and how it ends."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from towline.kernel import wireguard
from towline.kernel.wireguard import KernelCipher, RealWireGuard


class Kernel:
    """`KernelCipher`. ended: what the thread was at when it was closed had ended."""

    kind = "kernel"

    def __init__(self) -> None:
        self.began = self.over = False
        self.ended: bool | None = None

    def problem(self) -> str:
        return ""

    def read(self) -> None:
        self.began = True
        time.sleep(0.2)
        self.over = True

    async def close(self) -> None:
        self.ended = self.over


async def test_the_sockets_are_closed_when_nobody_uses_them_any_more() -> None:
    wg, kernel = RealWireGuard(userspace=True), Kernel()
    cast(Any, wg)._cipher = kernel
    reading = asyncio.create_task(wg._run(kernel.read))
    while not kernel.began:
        await asyncio.sleep(0)
    reading.cancel()
    await wg.close()
    assert kernel.ended


async def test_a_module_that_comes_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Kernel] = []
    monkeypatch.setattr(wireguard, "_kernel_cipher", lambda: found[0] if found else None)
    monkeypatch.setattr("shutil.which", lambda _: None)
    wg = RealWireGuard()
    assert "load the kernel's module wireguard" in await wg.problem()
    found.append(Kernel())
    assert (await wg.problem(), wg.kind) == ("", "kernel")
    await wg.close()


def test_a_kernel_without_it_costs_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[KernelCipher] = []

    def absent(cipher: KernelCipher) -> bool:
        made.append(cipher)
        return False

    monkeypatch.setattr(KernelCipher, "present", property(absent))
    assert wireguard._kernel_cipher() is None
    with pytest.raises(OSError, match="descriptor"):
        made[0]._socket.get(cast(Any, wireguard.codec).get_device(1, "x"))
