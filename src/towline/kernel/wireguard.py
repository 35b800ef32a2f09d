"""WireGuard interfaces on the real kernel: its own ones, or wireguard-go's where it has none.

A thread of their own: what a process is asked over a socket may take long.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Protocol, TypeVar

from towline.kernel import wireguard_codec as codec
from towline.kernel import wireguard_uapi as uapi
from towline.kernel.genetlink import NETLINK_GENERIC, find_family
from towline.kernel.netlink import DumpInterrupted, Message, NetlinkSocket
from towline.kernel.rtnl_read import as_kernel_error
from towline.kernel.wireguard_codec import Dump
from towline.kernel.wireguard_contract import WgDevice, WgPeer, WgState
from towline.kernel.wireguard_go import GoProcesses
from towline.kernel.wireguard_links import WireGuardLinks, is_ours
from towline.model.errors import KernelError
from towline.model.secure import key_bytes

T = TypeVar("T")
_TRIES = 20


class Cipher(Protocol):
    """Who encrypts: what differs between the kernel and wireguard-go. Blocks, but for begin and end. KernelError."""

    kind: str

    def problem(self) -> str: ...
    async def begin(self, name: str, create: Callable[[], Awaitable[None]]) -> None:
        """Have a link of this name; create: by rtnetlink."""
        ...

    async def end(self, name: str) -> None: ...
    def configure(self, name: str, private: str, port: int) -> None: ...
    def set_peers(self, name: str, puts: Sequence[WgPeer], gone: Sequence[str]) -> None: ...
    def read(self, name: str) -> Dump | None: ...
    async def close(self) -> None: ...


class KernelCipher:
    kind = "kernel"

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_GENERIC)
        self._family = 0

    @property
    def present(self) -> bool:
        """Whether the kernel has it, as a module that is not loaded yet perhaps. OSError."""
        self._family = self._family or find_family(self._socket, codec.FAMILY)
        return bool(self._family)

    def problem(self) -> str:
        return "" if self.present else "this kernel has no WireGuard"

    async def begin(self, name: str, create: Callable[[], Awaitable[None]]) -> None:
        await create()

    async def end(self, name: str) -> None:
        return

    def configure(self, name: str, private: str, port: int) -> None:
        self._set(name, [codec.set_device(self._family, name, private, port)])

    def set_peers(self, name: str, puts: Sequence[WgPeer], gone: Sequence[str]) -> None:
        self._set(name, codec.set_peers(self._family, name, puts, gone))

    def _set(self, name: str, messages: Sequence[Message]) -> None:
        operation = f"configure WireGuard interface {name}"
        with as_kernel_error(operation):
            acks = self._socket.transact(messages)
        for ack in acks:
            if ack.errno:
                raise KernelError(ack.errno, operation, ack.text)

    def read(self, name: str) -> Dump | None:
        operation = f"read WireGuard interface {name}"
        for _ in range(_TRIES):
            try:
                return codec.parse_device([body for _, body in self._socket.dump(codec.get_device(self._family, name))])
            except DumpInterrupted:
                continue
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return None
                raise KernelError(error.errno or errno.EIO, operation, error.strerror or "") from error
        raise KernelError(errno.EAGAIN, operation, "changed under every one of our reads")

    async def close(self) -> None:
        self.close_socket()

    def close_socket(self) -> None:
        self._socket.close()


class GoCipher:
    """died: called with the name of an interface whose process has ended by itself; it is begun anew."""

    kind = "wireguard-go"

    def __init__(self, died: Callable[[str], None]) -> None:
        self._processes = GoProcesses(died)
        self._publics: dict[str, str] = {}

    def problem(self) -> str:
        return self._processes.problem()

    @property
    def in_use(self) -> bool:
        return self._processes.any

    async def begin(self, name: str, create: Callable[[], Awaitable[None]]) -> None:
        await self._processes.begin(name)

    async def end(self, name: str) -> None:
        await self._processes.end(name)

    def configure(self, name: str, private: str, port: int) -> None:
        from towline.kernel.wireguard_keys import public_key

        self._publics[key_bytes(private).hex()] = public_key(private)
        uapi.exchange(name, uapi.set_device(private, port))

    def set_peers(self, name: str, puts: Sequence[WgPeer], gone: Sequence[str]) -> None:
        if puts or gone:
            uapi.exchange(name, uapi.set_peers(puts, gone))

    def read(self, name: str) -> Dump | None:
        try:
            return uapi.parse_device(name, uapi.exchange(name, uapi.GET), self._publics)
        except KernelError as error:
            if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
                return None
            raise

    async def close(self) -> None:
        await self._processes.close()


class RealWireGuard:
    """Contract `WireGuard`. Sockets are opened in the namespace of the caller. died: see `GoCipher`. userspace: never
    the kernel's."""

    def __init__(self, died: Callable[[str], None] = lambda _: None, *, userspace: bool = False) -> None:
        self._links = WireGuardLinks()
        self._userspace = userspace
        self._cipher: Cipher = (None if userspace else _kernel_cipher()) or GoCipher(died)
        self._thread = ThreadPoolExecutor(1, "wireguard")
        self._one = asyncio.Lock()

    @property
    def kind(self) -> str:
        return self._cipher.kind

    async def problem(self) -> str:
        return await self._run(self._problem)

    def _problem(self) -> str:
        """The kernel's module may have been installed since the daemon began."""
        why = self._cipher.problem()
        if why and not self._userspace and isinstance(self._cipher, GoCipher) and not self._cipher.in_use:
            self._cipher = _kernel_cipher() or self._cipher
            why = self._cipher.problem()
        return why

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def ensure(self, device: WgDevice) -> None:
        async with self._one:
            link = await self._run(partial(self._links.find, device.name))
            if link is not None and not (is_ours(link) or (link.kind in ("wireguard", "tun") and not link.alias)):
                what = f"a {link.kind or 'plain'} link that is not ours has this name"
                raise KernelError(errno.EEXIST, f"make WireGuard interface {device.name}", what)
            if link is None or (link.kind == "tun" and await self._run(partial(self._read, device.name)) is None):
                if link is not None:  # a tunnel without its process
                    await self._run(partial(self._links.remove, device.name))
                await self._cipher.begin(device.name, lambda: self._run(partial(self._links.create, device.name)))
            try:
                await self._run(partial(self._adjust, device))
            except KernelError:
                if link is None:
                    await self._remove(device.name)
                raise

    def _adjust(self, device: WgDevice) -> None:
        """The port is bound when the link is up, so a taken one shows then."""
        link, now = self._links.find(device.name), self._cipher.read(device.name)
        if link is None or now is None:
            raise KernelError(errno.ENODEV, f"set up WireGuard interface {device.name}")
        from towline.kernel.wireguard_keys import public_key

        if (now.public, now.port) != (public_key(device.private), device.port):
            self._cipher.configure(device.name, device.private, device.port)
        self._links.adjust(link, device, up=True)

    def _read(self, name: str) -> Dump | None:
        return self._cipher.read(name)

    async def set_peers(self, name: str, puts: Sequence[WgPeer], gone: Sequence[str]) -> None:
        async with self._one:
            await self._run(partial(self._cipher.set_peers, name, puts, gone))

    async def set_routes(self, name: str, source: str, puts: Sequence[str], gone: Sequence[str]) -> None:
        async with self._one:
            await self._run(partial(self._links.set_routes, name, source, puts, gone))

    async def block(self, prefix: str) -> None:
        async with self._one:
            await self._run(partial(self._links.block, prefix))

    async def unblock(self, prefix: str) -> None:
        async with self._one:
            await self._run(partial(self._links.unblock, prefix))

    async def read(self, name: str) -> WgState | None:
        async with self._one:
            return await self._run(partial(self._state, name))

    def _state(self, name: str) -> WgState | None:
        link = self._links.find(name)
        dump = self._cipher.read(name) if link is not None else None
        if link is None or dump is None:
            return None
        routes = self._links.routes(link.index)
        return WgState(name, link.alias, link.up, link.mtu, dump.public, dump.port, link.addresses, dump.peers, routes)

    async def remove(self, name: str) -> None:
        async with self._one:
            await self._remove(name)

    async def _remove(self, name: str) -> None:
        await self._cipher.end(name)
        await self._run(partial(self._links.remove, name))

    async def ours(self) -> list[tuple[str, str]]:
        async with self._one:
            return [(link.name, link.alias) for link in await self._run(self._links.ours)]

    async def close(self) -> None:
        """What the thread is at ends first: it has the sockets, and the event loop does not wait for it."""
        await asyncio.to_thread(self._thread.shutdown)
        await self._cipher.close()
        self._links.close()


def _kernel_cipher() -> KernelCipher | None:
    cipher = KernelCipher()
    with suppress(OSError):
        if cipher.present:
            return cipher
    cipher.close_socket()
    return None
