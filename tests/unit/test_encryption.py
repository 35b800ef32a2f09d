"""Encryption on one node, with a fake of WireGuard: what there is when, keys that change, faults, restarts."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Collection, Coroutine, Mapping

import pytest
from msgspec.structs import replace

from towline.control.encryption import Encryption
from towline.kernel.fake_wireguard import FakeWireGuard
from towline.kernel.wireguard_keys import new_private_key, public_key
from towline.model.cluster import Description, Node, Peer, Underlay
from towline.model.endpoint import Endpoint
from towline.model.errors import Failure, StoreCorrupt, StoreError
from towline.model.network import Network
from towline.model.secure import HeldKey, SecureKey, key_address, node_address, secure_prefix
from towline.store.contract import Delete, Put
from towline.store.memory import MemoryStore

CLUSTER, OWN = "c" * 25, "own"
PREFIX = secure_prefix(CLUSTER)
SAFE = Network("s" * 25, "safe", 1, "overlay", scope="swarm", attachable=True, options={"encrypted": ""})
OPEN = replace(SAFE, id="o" * 25, name="open", options={})


class Memory:
    """`control.secure_memory.SecureMemory`."""

    def __init__(self) -> None:
        self.kept: dict[str, Node] = {}

    def nodes(self) -> dict[str, Node]:
        return self.kept

    async def keep(self, nodes: Mapping[str, Node]) -> None:
        self.kept = dict(nodes)


class File:
    """`model.secure.KeyFile`. broken: it cannot be read; full: it cannot be written."""

    def __init__(self) -> None:
        self.held: tuple[HeldKey, ...] = ()
        self.broken = self.full = False

    def load(self) -> tuple[HeldKey, ...]:
        if self.broken:
            raise StoreCorrupt("secure.json: nonsense")
        return self.held

    def save(self, held: tuple[HeldKey, ...]) -> None:
        if self.full:
            raise StoreError("secure.json: no space left on device")
        self.held = held


class Lab:
    """One node. told: what was published; links: what the firewall was told; now: its clock."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.wireguard = FakeWireGuard()
        self.file = File()
        self.memory = Memory()
        self.links: set[str] = set()
        self.told: list[tuple[SecureKey, ...]] = []
        self.repaired = 0
        self.now = 1_000_000.0
        self.nodes: dict[str, Node] = {}
        self.alive: set[str] = set()
        self.mtu = 1500
        self.begin()

    def begin(self) -> None:
        async def set_links(names: Collection[str]) -> None:
            self.links = set(names)

        def count(number: int) -> None:
            self.repaired += number

        self.encryption = Encryption(
            self.store.view(),
            lambda died: self.wireguard,
            underlay=lambda: Underlay("192.0.2.1", mtu=self.mtu),
            set_links=set_links,
            memory=self.memory,
            repaired=count,
            rotation=1000.0,
            clock=lambda: self.now,
        )
        self.encryption.restore(OWN, CLUSTER, self.file, lambda: self.told.append(self.encryption.keys()))

    def join(self, network: Network = SAFE) -> None:
        endpoint = Endpoint(f"e{network.id}", "e", network.id, ifname="eth0")
        self.store.update([Put(network), Put(endpoint)])
        self.encryption.local_change(network.id)

    def part(self, network: Network = SAFE) -> None:
        self.store.update([Delete(Endpoint, f"e{network.id}")])
        self.encryption.local_change(network.id)

    def node(self, name: str, *publics: str, network: Network = SAFE) -> None:
        """With an endpoint on the network."""
        number = len(self.nodes) + 10
        keys = tuple(SecureKey(public, 51820 + i) for i, public in enumerate(publics))
        self.nodes[name] = Node(
            name, number, description=Description(f"host-{name}"), data_path=f"192.0.2.{number}", secure=keys
        )
        self.alive.add(name)
        peer = Peer(f"p{name}{network.id}", network.id, name, f"192.0.2.{number}", f"02:00:00:00:00:{number:02x}")
        self.store.update([Put(peer)])
        self.hear()

    def hear(self) -> None:
        self.encryption.hear(self.nodes, self.alive)

    async def settle(self) -> None:
        await self.encryption._try()

    @property
    def devices(self) -> set[str]:
        return set(self.wireguard.devices)

    def peers(self, name: str) -> set[str]:
        return {each.peer.public for each in self.wireguard.devices[name].peers}


def fresh() -> str:
    return public_key(new_private_key())


def run(scenario: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(scenario())


def test_a_key_is_made_at_once_and_an_interface_only_for_a_network_that_needs_it() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.node("a", fresh())
        await lab.settle()
        (key,) = lab.told[-1]
        assert lab.devices == set()
        lab.join(OPEN)
        await lab.settle()
        assert lab.devices == set()
        lab.join()
        await lab.settle()
        (name,) = lab.devices
        device = lab.wireguard.devices[name]
        assert (device.public, device.port, device.mtu) == (key.public, key.port, 1440)
        assert set(device.addresses) == {
            f"{key_address(PREFIX, key.public)}/128",
            f"{node_address(PREFIX, OWN)}/128",
        }
        assert lab.wireguard.blocked == {PREFIX}
        assert lab.links == {name}
        assert device.routes[node_address(PREFIX, "a")] == key_address(PREFIX, key.public)
        lab.part()
        await lab.settle()
        assert (lab.devices, lab.wireguard.blocked) == (set(), set())
        assert lab.told == [(key,)]

    run(scenario)


def test_the_mtu_follows_the_uplink() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        for uplink, inside in ((1500, 1440), (9000, 8940), (1300, 1280)):
            lab.mtu = uplink
            await lab.settle()
            (device,) = lab.wireguard.devices.values()
            assert device.mtu == inside

    run(scenario)


def test_nodes_come_and_go_with_their_endpoints() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        one, two = fresh(), fresh()
        lab.node("a", one)
        lab.node("b", two, network=OPEN)
        await lab.settle()
        (name,) = lab.devices
        assert lab.peers(name) == {one}
        await lab.encryption.meet(SAFE.id, {"b"})
        assert lab.peers(name) == {one, two}, "before its row is put, which the store has not heard of"
        lab.store.update([Delete(Peer, f"pa{SAFE.id}")])
        await lab.settle()
        assert lab.peers(name) == {two}
        assert node_address(PREFIX, "a") not in lab.wireguard.devices[name].routes

    run(scenario)


def test_what_somebody_changes_by_hand_is_set_right_and_counted() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        lab.node("a", fresh())
        await lab.settle()
        await lab.settle()
        assert lab.repaired == 0
        (name,) = lab.devices
        right = lab.wireguard.devices[name]
        for wrong in (None, replace(right, peers=()), replace(right, routes={}), replace(right, mtu=1400, up=False)):
            before = lab.repaired
            if wrong is None:
                del lab.wireguard.devices[name]
            else:
                lab.wireguard.devices[name] = wrong
            await lab.settle()
            assert lab.wireguard.devices[name] == right
            assert lab.repaired == before + 1

    run(scenario)


def test_a_rotation_goes_step_by_step_and_waits_for_those_that_are_up() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        one, two = fresh(), fresh()
        lab.node("a", one)
        lab.node("b", two)
        await lab.settle()
        (old,) = lab.devices
        lab.now += 1001
        await lab.settle()
        first, second = lab.told[-1]
        (new,) = lab.devices - {old}
        assert lab.wireguard.devices[new].public == second.public
        assert lab.wireguard.devices[new].routes == {}, "all goes by the old one still"
        lab.wireguard.shake(new, lab.now, one)
        await lab.settle()
        assert lab.told[-1] == (first, second)
        lab.alive.discard("b")
        await lab.settle()
        assert lab.told[-1] == (second, first)
        assert lab.wireguard.devices[old].routes == {}
        assert lab.wireguard.devices[new].routes[node_address(PREFIX, "a")] == key_address(PREFIX, second.public)
        await lab.settle()
        lab.now += 9
        device = lab.wireguard.devices[old]
        lab.wireguard.devices[old] = replace(
            device, peers=tuple(replace(each, rx=each.rx + 1) for each in device.peers)
        )
        await lab.settle()
        lab.now += 9
        await lab.settle()
        assert lab.devices == {old, new}, "something came by the old key nine seconds ago"
        lab.now += 2
        await lab.settle()
        assert lab.devices == {new}
        assert lab.told[-1] == (second,)

    run(scenario)


def test_a_restart_goes_on_where_it_was_also_while_cut_off() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        lab.node("a", fresh())
        await lab.settle()
        before = dict(lab.wireguard.devices)
        lab.begin()
        assert set(lab.encryption.links()) == set(before), "known before anything is compared"
        await lab.settle()
        assert lab.wireguard.devices == before
        assert lab.repaired == 0

    run(scenario)


@pytest.mark.parametrize("step", ["ensure", "set_peers", "set_routes", "read", "block"])
def test_a_refusal_is_told_and_tried_again(step: str) -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        lab.node("a", fresh())
        lab.wireguard.faults.fail(step, errno.ENOMEM)
        await lab.settle()
        assert "cannot allocate memory" in lab.encryption.trouble
        await lab.settle()
        assert lab.encryption.trouble == ""
        (name,) = lab.devices
        assert len(lab.peers(name)) == 1
        assert lab.wireguard.devices[name].routes

    run(scenario)


def test_a_taken_port_is_left_to_its_owner() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.wireguard.taken = {51820, 51821}
        lab.join()
        await lab.settle()
        (key,) = lab.told[-1]
        assert key.port == 51822
        assert lab.file.held[0].port == 51822

    run(scenario)


def test_a_join_is_refused_where_nothing_encrypts() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.wireguard.broken = "this kernel has no WireGuard: install wireguard-go"
        with pytest.raises(Failure, match=r"encryption keys not present \(this kernel has no WireGuard: install"):
            await lab.encryption.admit(SAFE)
        await lab.encryption.admit(OPEN)
        assert lab.encryption.keys() == ()
        lab.wireguard.broken = ""
        lab.store.update([Put(SAFE)])
        await lab.encryption.admit(SAFE)
        assert len(lab.devices) == 1

    run(scenario)


def test_a_disk_that_is_full_changes_no_key() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        lab.node("a", fresh())
        await lab.settle()
        before = lab.encryption.keys()
        lab.file.full = True
        lab.now += 1001
        await lab.settle()
        assert "no space left" in lab.encryption.trouble
        assert lab.encryption.keys() == before

    run(scenario)


def test_a_file_that_cannot_be_read_is_replaced() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.file.broken = True
        lab.begin()
        lab.join()
        await lab.settle()
        assert len(lab.encryption.keys()) == 1

    run(scenario)


def test_missing_and_wrong_keys_are_told() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        lab.node("a", fresh())
        lab.node("b")
        await lab.settle()
        assert lab.encryption.trouble == "no encryption key of node host-b"
        lab.now += 20
        await lab.settle()
        assert lab.encryption.trouble == (
            "no encryption key of node host-b; no encrypted handshake with node host-a (another key, or UDP is blocked)"
        )
        lab.alive.clear()
        await lab.settle()
        assert lab.encryption.trouble == "", "who is down is told elsewhere"

    run(scenario)


def test_who_keeps_a_new_key_waiting_is_told() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        one = fresh()
        lab.node("a", one)
        await lab.settle()
        (old,) = lab.devices
        lab.wireguard.shake(old, lab.now, one)
        lab.now += 1001
        await lab.settle()
        lab.wireguard.shake(old, lab.now, one)
        await lab.settle()
        assert lab.encryption.trouble == ""
        lab.now += 20
        await lab.settle()
        assert "no encrypted handshake with node host-a" in lab.encryption.trouble
        lab.wireguard.shake(*(lab.devices - {old}), lab.now, one)
        await lab.settle()
        assert lab.encryption.trouble == ""

    run(scenario)


def test_leaving_leaves_nothing() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        lab.node("a", fresh())
        await lab.settle()
        await lab.encryption.leave()
        assert (lab.devices, lab.wireguard.blocked, lab.links, lab.memory.kept) == (set(), set(), set(), {})
        assert lab.wireguard.closed
        assert lab.encryption.keys() == ()
        assert lab.encryption.links() == {}

    run(scenario)


def test_a_refusal_does_not_stop_a_node_that_leaves() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        lab.node("a", fresh())
        await lab.settle()
        lab.wireguard.faults.fail("remove", errno.EPERM)
        await lab.encryption.leave()
        assert lab.wireguard.closed
        assert (lab.encryption.keys(), lab.encryption.links(), lab.memory.kept) == ((), {}, {})

    run(scenario)


def test_the_daemons_end_leaves_the_interfaces() -> None:
    async def scenario() -> None:
        lab = Lab()
        lab.join()
        lab.encryption.start()
        while not lab.devices:
            await asyncio.sleep(0)
        await lab.encryption.close()
        assert lab.wireguard.closed
        assert lab.devices

    run(scenario)
