"""The host end of an endpoint against what the kernel shows of it and of its bridge."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from towline.control.compare import Join, compare_interface
from towline.kernel.contract import Link
from towline.model.desired import Interface
from towline.model.sandbox import Sandbox
from towline.plan.sandbox import SandboxDesired

SANDBOX = Sandbox(id="1" * 64, name="db", created=0)
INTERFACE = Interface("veth0", "towline:endpoint:1", "br-web", "eth0", "02:00:00:00:00:01")
WILL = SandboxDesired(netns="/netns/db", interfaces=(INTERFACE,))
BRIDGE = Link(7, "br-web", "bridge", "", True, 1500, "02:00:00:00:00:07", 0, ())
PORT = Link(9, "veth0", "veth", INTERFACE.alias, True, 1500, "02:00:00:00:00:09", BRIDGE.index, ())


def problem(port: Link | None, bridge: Link | None) -> str | None:
    found = compare_interface(SANDBOX, WILL, INTERFACE, {"veth0": port, "br-web": bridge})
    assert found is None or isinstance(found.act, Join)
    return found.finding.problem if found else None


def test_a_port_of_its_bridge_is_right() -> None:
    assert problem(PORT, BRIDGE) is None


@pytest.mark.parametrize("bridge", [BRIDGE, None])
def test_a_port_that_lost_its_bridge_is_plugged_in_again_whether_or_not_the_bridge_is_back(bridge: Link | None) -> None:
    assert problem(replace(PORT, master=0), bridge) == "eth0 (veth0 on this host) is not plugged into br-web"


def test_a_port_of_another_bridge_is_plugged_in_again() -> None:
    assert problem(replace(PORT, master=8), BRIDGE) == "eth0 (veth0 on this host) is not plugged into br-web"


def test_the_ports_of_a_bridge_that_somebody_renamed_stay() -> None:
    """The bridge gets its name back; they are still plugged into it."""
    assert problem(PORT, None) is None


@pytest.mark.parametrize(
    ("port", "said"),
    [
        (None, "does not exist"),
        (replace(PORT, alias=""), "does not carry our mark"),
        (replace(PORT, up=False), "is down"),
    ],
)
def test_what_else_can_be_wrong_with_it(port: Link | None, said: str) -> None:
    assert problem(port, BRIDGE) == f"eth0 (veth0 on this host) {said}"
