"""VXLAN devices and their rows over rtnetlink: the `Tunnels` contract on the real kernel.

Crash safety: a device is made by one send and gets its alias and settings by another, each of which the kernel carries
out whole even if this process is killed in it. In between it is down, and known by where it is: in a namespace of ours.
Rows need no mark: they are on a device of ours and go with it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from towline.kernel import rtnl_codec, vxlan_codec
from towline.kernel.announce import frames_of
from towline.kernel.contract import ELSEWHERE, Link
from towline.kernel.netlink import Ack, DumpInterrupted, Message, NetlinkSocket
from towline.kernel.probe import LinkProbe
from towline.kernel.rtnl_read import LinkReader, as_kernel_error
from towline.kernel.rtnl_steps import Step, first_refusal
from towline.kernel.vxlan_codec import Fdb, Neighbour
from towline.kernel.vxlan_known import KnownDevice, KnownRows
from towline.kernel.vxlan_rows import as_rows, row_messages
from towline.model.desired import Row, Vxlan
from towline.model.errors import KernelError
from towline.model.secure import ANYWHERE

_DUMP_TRIES = 20
_TO_ROUTER = "send all multicast of the bridge to the tunnel"
_NO_SNOOPING = frozenset({errno.EOPNOTSUPP, errno.EINVAL})
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class _Plan(NamedTuple):
    link: int
    new: Step
    steps: list[Step]


class Outside(NamedTuple):
    """Where packets of tunnels leave and arrive: a client in that namespace; and a descriptor of the one that the
    devices are to be in."""

    socket: NetlinkSocket
    namespace: int


class RtnlTunnels:
    """Works in the network namespace of the thread that makes it. ipv6: whether the kernel has it. outside: None if
    packets leave and arrive in the same one."""

    def __init__(self, *, ipv6: bool, outside: Outside | None = None) -> None:
        self._outside = outside
        self._socket = NetlinkSocket(rtnl_codec.NETLINK_ROUTE)
        self._probe = LinkProbe()
        self._families = _FAMILIES if ipv6 else _FAMILIES[:1]
        self._reader = LinkReader(self._socket, self._families)
        self.known = KnownRows()
        self._announcer: socket.socket | None = None

    @property
    def portid(self) -> int:
        """The port id that notifications about our own neighbour rows carry."""
        return self._socket.portid

    def close(self) -> None:
        self._socket.close()
        self._probe.close()
        if self._outside is not None:
            self._outside.socket.close()
        if self._announcer is not None:
            self._announcer.close()

    def announce(self, bridge: str, rows: Sequence[Row]) -> KernelError | None:
        """By one packet socket that stays open: closing it takes the kernel 16 ms."""
        try:
            if self._announcer is None:
                kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
                self._announcer = socket.socket(socket.AF_PACKET, kind, 0)
            for row in rows:
                for frame in frames_of(row):
                    self._announcer.sendto(frame, (bridge, int.from_bytes(frame[12:14], "big")))
        except OSError as error:
            return KernelError(error.errno or errno.EIO, f"announce endpoints of other hosts on {bridge}")
        return None

    # devices

    def create(self, tunnels: Sequence[Vxlan]) -> list[KernelError | None]:
        """Made by one send, from where packets leave; the rest by a second one."""
        planned = [self._plan(vxlan) for vxlan in tunnels]
        made = self._send(planned, lambda plan: [plan.new], self._outside and self._outside.socket)
        results = self._send(made, lambda plan: plan.steps)
        for vxlan, plan, result in zip(tunnels, planned, results, strict=True):
            if isinstance(plan, _Plan) and isinstance(result, _Plan):
                self.known.learn(plan.link, vxlan.name)
            elif isinstance(plan, _Plan):
                self._discard(plan.link)
        return [None if isinstance(result, _Plan) else result for result in results]

    def _send(
        self,
        planned: Sequence[_Plan | KernelError],
        part: Callable[[_Plan], list[Step]],
        sock: NetlinkSocket | None = None,
    ) -> list[_Plan | KernelError]:
        """The plans whose part was carried out, and in the place of others the refusal."""
        refusals = iter(self._apply([part(plan) for plan in planned if isinstance(plan, _Plan)], sock))
        return [(next(refusals) or plan) if isinstance(plan, _Plan) else plan for plan in planned]

    def _plan(self, vxlan: Vxlan) -> _Plan | KernelError:
        try:
            bridge, index = self._bridge(vxlan), self._probe.free_index()
            return _Plan(index, self._making(vxlan, index, bridge), self._rest(vxlan, index))
        except KernelError as error:
            return error

    def _bridge(self, vxlan: Vxlan) -> int:
        if index := self._probe.index(vxlan.bridge):
            return index
        raise KernelError(errno.ENODEV, f"plug {vxlan.name} into bridge {vxlan.bridge}")

    def _making(self, vxlan: Vxlan, index: int, bridge: int) -> Step:
        create = f"create tunnel {vxlan.name}"
        try:
            namespace = None if self._outside is None else self._outside.namespace
            return Step(vxlan_codec.new_vxlan(index, vxlan, bridge, namespace), create)
        except ValueError as error:
            raise KernelError(errno.EINVAL, create, str(error)) from error

    def _rest(self, vxlan: Vxlan, index: int) -> list[Step]:
        create = f"create tunnel {vxlan.name}"
        return [
            Step(rtnl_codec.set_link(index, rtnl_codec.alias_attr(vxlan.alias), *self._no_link_local()), create),
            Step(vxlan_codec.to_router(index), _TO_ROUTER),
            Step(rtnl_codec.set_link(index, up=True), f"set {vxlan.name} up"),
        ]

    def _no_link_local(self) -> list[bytes]:
        """The device answers ND only if it has IPv6, but needs no address of its own."""
        return [rtnl_codec.link_local_attr(automatic=False)] if len(self._families) > 1 else []

    def _discard(self, index: int) -> None:
        with suppress(OSError):
            self._socket.transact([rtnl_codec.delete_link(index)])

    def repair(self, tunnels: Sequence[Vxlan]) -> list[KernelError | None]:
        return [self._repair(vxlan) for vxlan in tunnels]

    def _repair(self, vxlan: Vxlan) -> KernelError | None:
        operation = f"repair tunnel {vxlan.name}"
        try:
            link = self._reader.bare(vxlan.name)
            if link is None:
                return KernelError(errno.ENODEV, operation)
            if link.vxlan is None:
                return KernelError(errno.EEXIST, operation, f"a link of kind {link.kind or 'none'} has this name")
            bridge = self._bridge(vxlan)
            if not same_device(link, vxlan):
                return self._make_anew(link, vxlan)
            rows = self.rows(vxlan.name) if link.mac != vxlan.mac.lower() else []  # a new MAC empties the neighbours
            error = self._apply([self._differences(link, vxlan, bridge)])[0]
            return error or (self.set_rows(vxlan.name, rows, ()) if rows else None)
        except KernelError as error:
            return error

    def _make_anew(self, link: Link, vxlan: Vxlan) -> KernelError | None:
        rows = self.rows(vxlan.name)
        self.known.forget(vxlan.name)
        self._discard(link.index)
        rows = [row for row in rows if row.vtep not in ("", ELSEWHERE)]
        return self.create([vxlan])[0] or self.set_rows(vxlan.name, rows, ())

    def _differences(self, link: Link, vxlan: Vxlan, bridge: int) -> list[Step]:
        operation = f"repair tunnel {vxlan.name}"
        attrs = []
        if link.alias != vxlan.alias:
            attrs.append(rtnl_codec.alias_attr(vxlan.alias))
        if link.mac != vxlan.mac.lower():
            attrs.append(rtnl_codec.mac_attr(vxlan.mac))
        if link.mtu != vxlan.mtu:
            attrs.append(rtnl_codec.mtu_attr(vxlan.mtu))
        steps = [Step(rtnl_codec.set_link(link.index, *attrs), operation)] if attrs else []
        if link.master != bridge:
            master = [vxlan_codec.master_attr(bridge), *self._no_link_local()]
            steps.append(Step(rtnl_codec.set_link(link.index, *master), operation))
            steps.append(Step(vxlan_codec.to_router(link.index), _TO_ROUTER))
        if not link.up:
            steps.append(Step(rtnl_codec.set_link(link.index, up=True), operation))
        return steps

    def silence(self, names: Sequence[str]) -> list[KernelError | None]:
        for name in names:
            self.known.forget(name)
        return self._apply([[Step(rtnl_codec.set_named_link(n, up=False), f"set link {n} down")] for n in names])

    def _apply(self, items: Sequence[Sequence[Step]], sock: NetlinkSocket | None = None) -> list[KernelError | None]:
        """All steps of all items in one send; per item its first refusal. A kernel without snooping has no routers."""
        try:
            acks = iter((sock or self._socket).transact([step.message for item in items for step in item]))
        except OSError as error:
            return [KernelError(error.errno or errno.EIO, item[0].operation) if item else None for item in items]
        return [first_refusal(item, [_judged(step, next(acks)) for step in item]) for item in items]

    # rows

    def set_rows(self, name: str, puts: Sequence[Row], gone: Sequence[Row]) -> KernelError | None:
        try:
            device, index = self._device(name)
            messages = row_messages(device, index, puts, gone)
            acks = self._socket.transact(messages)
        except OSError as error:
            return KernelError(error.errno or errno.EIO, f"set rows of {name}", error.strerror or "")
        except ValueError as error:
            return KernelError(errno.EINVAL, f"set rows of {name}", str(error))
        except KernelError as error:
            return error
        return _first(name, messages, acks)

    def rows(self, name: str) -> list[Row]:
        index = self._index(name, f"list rows of {name}")
        found = self._read(name, index)
        self.known.learn(index, name, found)
        return as_rows(found)

    def _device(self, name: str) -> tuple[KnownDevice, int]:
        """What is known of a device; of one that was here before this process, what it holds."""
        index = self._index(name, f"set rows of {name}")
        return self.known.device(index) or self.known.learn(index, name, self._read(name, index)), index

    def _index(self, name: str, operation: str) -> int:
        if index := self._probe.index(name):
            return index
        raise KernelError(errno.ENODEV, operation)

    def _read(self, name: str, index: int) -> list[Fdb | Neighbour]:
        asked = [vxlan_codec.get_fdb(index), *(vxlan_codec.get_neighbours(f, index) for f in self._families)]
        return [row for message in asked for row in self._dump(message, name) if row.link == index]

    def _dump(self, message: Message, name: str) -> Iterable[Fdb | Neighbour]:
        operation = f"list rows of {name}"
        for _ in range(_DUMP_TRIES):
            with suppress(DumpInterrupted), as_kernel_error(operation):
                return [row for _, body in self._socket.dump(message) if (row := vxlan_codec.parse_row(body))]
        raise KernelError(errno.EAGAIN, operation, "changed under every one of our reads")


def same_device(link: Link, vxlan: Vxlan) -> bool:
    """Whether what the kernel never changes is as it should be."""
    state = link.vxlan
    local = "" if vxlan.local == ANYWHERE else vxlan.local  # the kernel does not show an address that is none
    return state is not None and state.plain and (state.vni, state.port, state.local) == (vxlan.vni, vxlan.port, local)


def _judged(step: Step, ack: Ack) -> Ack:
    return Ack(0, "") if step.operation == _TO_ROUTER and ack.errno in _NO_SNOOPING else ack


def _first(name: str, messages: Sequence[Message], acks: Sequence[Ack]) -> KernelError | None:
    """What is not there needs no deletion."""
    for message, ack in zip(messages, acks, strict=True):
        if ack.errno and not (message.type == vxlan_codec.RTM_DELNEIGH and ack.errno == errno.ENOENT):
            return KernelError(ack.errno, f"set rows of {name}", ack.text)
    return None
