"""The namespace for overlay networks: pinned while something is in it, taken over by the next kernel, found again."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.support.links_conformance import bridge
from tests.support.netns import Namespace
from tests.support.remains import clear_away
from towline.firewall import OVERLAY, base, endpoint_elements, network_elements
from towline.kernel import sandboxes_pin
from towline.kernel.contract import AddElements, AddTable, DeleteElements
from towline.kernel.real import RealKernel
from towline.model.desired import Bridge, FamilyRules, NetworkRules, Vxlan, apart, network_alias
from towline.model.errors import KernelError, NotANamespace

ISOLATED = NetworkRules(apart("br-a"), FamilyRules("isolated"), None)
MAC = "02:00:00:00:00:01"


@pytest.fixture
def pin(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "netns" / "overlay"
    clear_away(tmp_path)


@pytest.fixture
def opened(ns: Namespace, pin: Path) -> Iterator[Callable[[], RealKernel]]:
    """Each call is another process's kernel, over the same pin."""
    with ExitStack() as stack:

        def another() -> RealKernel:
            made: RealKernel = ns.call(RealKernel, str(pin), [OVERLAY])
            stack.callback(made.close)
            return made

        yield another


def far(name: str = "br-a") -> Bridge:
    return Bridge(apart(name), network_alias(name), "02:42:0a:00:00:01", ipv6_off=True)


def names(ns: Namespace, pin: Path) -> set[str]:
    return {link["ifname"] for link in json.loads(ns.run(["nsenter", f"--net={pin}", "ip", "-j", "link"]))} - {"lo"}


def test_it_is_pinned_while_a_bridge_is_in_it(ns: Namespace, pin: Path, opened: Callable[[], RealKernel]) -> None:
    kernel = opened()
    assert not pin.exists()
    assert ns.call(kernel.links.create_bridges, [far(), bridge("br-b"), far("br-c")]) == [None, None, None]
    assert (names(ns, pin), kernel.links.held()) == ({"br-a", "br-c"}, True)
    here = {link["ifname"] for link in json.loads(ns.run(["ip", "-j", "link"]))}
    assert here == {"lo", "br-b"}
    assert {link.name for link in ns.call(kernel.links.dump)} >= {apart("br-a"), apart("br-c"), "br-b"}
    assert ns.call(kernel.links.find, "br-a") is None
    assert ns.call(kernel.links.remove, [apart("br-a"), "br-b"]) == [None, None]
    assert names(ns, pin) == {"br-c"}
    assert ns.call(kernel.links.remove, [apart("br-c")]) == [None]
    assert not pin.exists()
    assert not kernel.links.held()


def test_what_is_refused_pins_nothing(ns: Namespace, pin: Path, opened: Callable[[], RealKernel]) -> None:
    (error,) = ns.call(opened().links.create_bridges, [far("a-name-that-is-too-long")])
    assert error is not None
    assert not pin.exists()


def test_the_next_process_takes_it_over(ns: Namespace, pin: Path, opened: Callable[[], RealKernel]) -> None:
    with closing(ns.call(RealKernel, str(pin), [OVERLAY])) as first:
        assert ns.call(first.links.create_bridges, [far()]) == [None]
        index = ns.call(first.links.find, apart("br-a")).index
    second = opened()
    assert ns.call(second.links.find, apart("br-a")).index == index
    assert ns.call(second.links.remove, [apart("br-a")]) == [None]
    assert not pin.exists()


def test_a_pin_that_is_lost_is_put_back(ns: Namespace, pin: Path, opened: Callable[[], RealKernel]) -> None:
    kernel = opened()
    assert ns.call(kernel.links.create_bridges, [far()]) == [None]
    for spoil in (lambda: ns.run(["umount", str(pin)]), lambda: sandboxes_pin.drop(str(pin)), lambda: replaced(pin)):
        spoil()
        assert not kernel.links.held()
        ns.call(kernel.links.hold)
        assert kernel.links.held()
        assert names(ns, pin) == {"br-a"}


def replaced(pin: Path) -> None:
    sandboxes_pin.drop(str(pin))
    sandboxes_pin.make(str(pin))


def test_what_is_not_ours_at_its_place_stays(ns: Namespace, pin: Path, opened: Callable[[], RealKernel]) -> None:
    pin.parent.mkdir()
    pin.write_text("mine")
    kernel = opened()
    (error,) = ns.call(kernel.links.create_bridges, [far()])
    assert isinstance(error, KernelError)
    assert error.errno == errno.EEXIST
    assert str(pin) in str(error)
    assert pin.read_text() == "mine"
    pin.unlink()
    assert ns.call(kernel.links.create_bridges, [far()]) == [None]


def test_what_a_reboot_left_of_a_pin_goes(ns: Namespace, pin: Path, opened: Callable[[], RealKernel]) -> None:
    pin.parent.mkdir()
    pin.touch()
    kernel = opened()
    assert not pin.exists()
    assert not kernel.links.held()


def test_its_settings_are_ours_again_with_each_network(
    ns: Namespace, pin: Path, opened: Callable[[], RealKernel]
) -> None:
    kernel = opened()
    setting = "/proc/sys/net/ipv4/ip_forward"
    assert ns.call(kernel.links.create_bridges, [far()]) == [None]
    for made in ("br-b", "br-c"):
        assert ns.run(["nsenter", f"--net={pin}", "cat", setting]) == "0\n"
        assert kernel.links.held()
        ns.run(["nsenter", f"--net={pin}", "sysctl", "-qw", "net.ipv4.ip_forward=1"])
        assert not kernel.links.held()
        assert ns.call(kernel.links.create_bridges, [far(made)]) == [None]


def test_a_tunnel_is_there_and_its_packets_are_here(ns: Namespace, pin: Path, opened: Callable[[], RealKernel]) -> None:
    kernel = opened()
    tunnel = Vxlan(apart("vx-a"), "towline:tunnel:a", "02:00:00:00:01:01", 9, 4789, "127.0.0.1", 1400, apart("br-a"))
    assert ns.call(kernel.links.create_bridges, [far()]) == [None]
    assert ns.call(kernel.tunnels.create, [tunnel]) == [None]
    assert names(ns, pin) == {"br-a", "vx-a"}
    assert "127.0.0.1:4789" in ns.run(["ss", "-Hulpn"]) or ":4789" in ns.run(["ss", "-Hulpn"])
    assert ":4789" not in ns.run(["nsenter", f"--net={pin}", "ss", "-Hulpn"])
    (taken,) = ns.call(kernel.tunnels.create, [tunnel])
    assert taken is not None
    assert taken.errno == errno.EEXIST


def test_it_is_no_sandbox(ns: Namespace, pin: Path, opened: Callable[[], RealKernel]) -> None:
    kernel = opened()
    assert ns.call(kernel.links.create_bridges, [far()]) == [None]
    with pytest.raises(NotANamespace, match="the network namespace for overlay networks: a sandbox needs one of its"):
        ns.call(kernel.sandboxes.look, str(pin))
    with pytest.raises(NotANamespace):
        ns.call(kernel.sandboxes.look, f"/proc/{os.getpid()}/fd/{kernel.place.fileno()}")
    assert kernel.sandboxes.pinned(str(pin.parent)) == []


def test_rules_of_both_are_one_change(ns: Namespace, opened: Callable[[], RealKernel]) -> None:
    nft = opened().nft
    ns.call(nft.commit, [*map(AddTable, base())])
    guard = endpoint_elements(ISOLATED, "veth1", MAC, ["10.0.0.2/24"])
    web = network_elements(NetworkRules("br-web", FamilyRules(), None))

    def held() -> tuple[int, int]:
        there, here = ns.call(nft.read, OVERLAY), ns.call(nft.read, base()[0].id)
        return len(there.sets["port_mac"]), len(here.sets["bridges"])

    absent = network_elements(NetworkRules("br-absent", FamilyRules(), None))
    with pytest.raises(KernelError):
        ns.call(nft.commit, [AddElements(guard), DeleteElements(absent)])
    assert held() == (0, 0)
    ns.call(nft.commit, [AddElements((*guard, *web))])
    assert held() == (1, 1)
    with pytest.raises(KernelError):
        ns.call(nft.commit, [DeleteElements((*guard, *absent))])
    assert held() == (1, 1)
    ns.call(nft.commit, [DeleteElements((*guard, *web))])
    assert held() == (0, 0)
    assert "towline-overlay" not in ns.run(["nft", "list", "tables"])
