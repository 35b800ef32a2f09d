"""What every `Tunnels` must do. The unit ring runs it against the fake, the root ring against the kernel."""

from __future__ import annotations

import errno
from dataclasses import dataclass

import pytest
from msgspec import structs

from tests.support.links_conformance import bridge, codes
from towline.kernel.contract import Links, Tunnels, VxlanState
from towline.model.desired import Row, Vxlan, tunnel_alias
from towline.model.errors import KernelError

A = Row("02:00:00:00:00:0a", "192.0.2.2", ("10.0.0.2", "fd00::2"))
B = Row("02:00:00:00:00:0b", "192.0.2.3", ("10.0.0.3",))
VX = Vxlan("vx-a", tunnel_alias("a"), "02:00:00:00:01:01", 4097, 4789, "192.0.2.1", 1450, "br-a")


@dataclass(frozen=True)
class TunnelEnv:
    """The bridges br-a and br-b are there."""

    tunnels: Tunnels
    links: Links


def make_bridges(links: Links) -> None:
    assert links.create_bridges([bridge("br-a"), bridge("br-b", mac="02:42:0a:00:00:02")]) == [None, None]


def held(tunnels: Tunnels, name: str = "vx-a") -> set[Row]:
    return set(tunnels.rows(name))


class TunnelsConformance:
    @pytest.mark.parametrize("local", ["192.0.2.1", "2001:db8::1"])
    def test_a_tunnel_has_all_that_was_asked_for(self, tenv: TunnelEnv, local: str) -> None:
        wanted = structs.replace(VX, local=local)
        assert tenv.tunnels.create([wanted]) == [None]
        link, port_of = tenv.links.find("vx-a"), tenv.links.find("br-a")
        assert link is not None
        assert port_of is not None
        assert (link.kind, link.alias, link.up, link.mtu, link.mac) == ("vxlan", VX.alias, True, 1450, VX.mac)
        assert link.master == port_of.index
        assert link.addresses == ()
        assert link.vxlan == VxlanState(4097, 4789, local)
        assert link in tenv.links.dump()
        assert tenv.tunnels.rows("vx-a") == []

    def test_each_of_many_has_its_own_result(self, tenv: TunnelEnv) -> None:
        others = [structs.replace(VX, name=f"vx-{i}", alias=tunnel_alias(str(i)), vni=5000 + i) for i in range(5)]
        others[1] = structs.replace(others[1], bridge="nosuch")
        others[3] = structs.replace(others[3], vni=5000)
        assert codes(tenv.tunnels.create(others)) == [0, errno.ENODEV, 0, errno.EEXIST, 0]
        assert [tenv.links.find(v.name) is not None for v in others] == [True, False, True, False, True]

    def test_a_taken_name_is_left_alone(self, tenv: TunnelEnv) -> None:
        assert codes(tenv.tunnels.create([structs.replace(VX, name="br-b")])) == [errno.EEXIST]
        found = tenv.links.find("br-b")
        assert found is not None
        assert (found.kind, found.alias) == ("bridge", "towline:network:br-b")

    @pytest.mark.parametrize(
        "other",
        [
            structs.replace(VX, alias="towline:tunnel:z", mac="02:00:00:00:09:09", mtu=1400),
            structs.replace(VX, bridge="br-b"),
            structs.replace(VX, vni=7),
            structs.replace(VX, port=8472),
            structs.replace(VX, local="192.0.2.77"),
        ],
    )
    def test_repair_leads_to_what_is_wanted_and_keeps_the_rows(self, tenv: TunnelEnv, other: Vxlan) -> None:
        assert tenv.tunnels.create([VX]) == [None]
        wanted = tenv.links.find("vx-a")
        assert wanted is not None
        assert tenv.links.remove(["vx-a"]) == [None]
        assert tenv.tunnels.create([other]) == [None]
        assert tenv.tunnels.set_rows("vx-a", [A, B], []) is None
        assert tenv.tunnels.repair([VX]) == [None]
        repaired = tenv.links.find("vx-a")
        assert repaired is not None
        assert structs.replace(repaired, index=wanted.index) == wanted
        assert held(tenv.tunnels) == {A, B}

    def test_repair_sets_it_up_again(self, tenv: TunnelEnv) -> None:
        assert tenv.tunnels.create([VX]) == [None]
        before = tenv.links.find("vx-a")
        assert tenv.links.silence(["vx-a"]) == [None]
        assert tenv.tunnels.repair([VX]) == [None]
        assert tenv.links.find("vx-a") == before

    def test_repair_of_another_kind_or_of_nothing_is_refused(self, tenv: TunnelEnv) -> None:
        assert codes(tenv.tunnels.repair([structs.replace(VX, name="br-b"), VX])) == [errno.EEXIST, errno.ENODEV]

    def test_rows_come_and_go(self, tenv: TunnelEnv) -> None:
        assert tenv.tunnels.create([VX]) == [None]
        assert tenv.tunnels.set_rows("vx-a", [A, B], []) is None
        assert held(tenv.tunnels) == {A, B}
        assert tenv.tunnels.set_rows("vx-a", [A, B], []) is None
        assert held(tenv.tunnels) == {A, B}
        assert tenv.tunnels.set_rows("vx-a", [], [A]) is None
        assert held(tenv.tunnels) == {B}
        assert tenv.tunnels.set_rows("vx-a", [], [A, B]) is None
        assert held(tenv.tunnels) == set()

    def test_a_put_replaces(self, tenv: TunnelEnv) -> None:
        moved = structs.replace(A, vtep="192.0.2.9")
        assert tenv.tunnels.create([VX]) == [None]
        assert tenv.tunnels.set_rows("vx-a", [A, B], []) is None
        assert tenv.tunnels.set_rows("vx-a", [moved], [A]) is None
        assert held(tenv.tunnels) == {moved, B}
        assert tenv.tunnels.set_rows("vx-a", [], [A]) is None
        assert held(tenv.tunnels) == {moved, B}
        fewer = structs.replace(A, addresses=("10.0.0.2",))
        assert tenv.tunnels.set_rows("vx-a", [fewer], [moved]) is None
        assert held(tenv.tunnels) == {fewer, B}

    def test_an_address_that_another_has_by_now_stays_with_it(self, tenv: TunnelEnv) -> None:
        heir = Row("02:00:00:00:00:0c", "192.0.2.4", A.addresses)
        assert tenv.tunnels.create([VX]) == [None]
        assert tenv.tunnels.set_rows("vx-a", [A], []) is None
        assert tenv.tunnels.set_rows("vx-a", [heir], [A]) is None
        assert held(tenv.tunnels) == {heir}
        assert tenv.tunnels.set_rows("vx-a", [], [A]) is None
        assert held(tenv.tunnels) == {heir}

    def test_parts_of_rows(self, tenv: TunnelEnv) -> None:
        assert tenv.tunnels.create([VX]) == [None]
        assert tenv.tunnels.set_rows("vx-a", [A, structs.replace(B, vtep="")], []) is None
        assert held(tenv.tunnels) == {A, structs.replace(B, vtep="")}
        assert tenv.tunnels.set_rows("vx-a", [], [Row(A.mac, "", ("fd00::2",))]) is None
        assert held(tenv.tunnels) == {structs.replace(A, addresses=("10.0.0.2",)), structs.replace(B, vtep="")}

    def test_a_refused_row_stops_no_other(self, tenv: TunnelEnv) -> None:
        wrong = Row("02:00:00:00:00:0d", "2001:db8::2")
        assert tenv.tunnels.create([VX]) == [None]
        error = tenv.tunnels.set_rows("vx-a", [wrong, A], [])
        assert isinstance(error, KernelError)
        assert error.errno == errno.EAFNOSUPPORT
        assert held(tenv.tunnels) == {A}

    @pytest.mark.parametrize("wrong", [Row(B.mac, "nonsense"), Row(B.mac, B.vtep, ("10.0.0",))])
    def test_nonsense_changes_nothing(self, tenv: TunnelEnv, wrong: Row) -> None:
        assert tenv.tunnels.create([VX]) == [None]
        for puts, gone in (([A, wrong], []), ([A], [wrong])):
            error = tenv.tunnels.set_rows("vx-a", puts, gone)
            assert error is not None
            assert error.errno == errno.EINVAL
            assert held(tenv.tunnels) == set()

    def test_an_ipv6_underlay(self, tenv: TunnelEnv) -> None:
        row = structs.replace(A, vtep="2001:db8::2")
        assert tenv.tunnels.create([structs.replace(VX, local="2001:db8::1")]) == [None]
        assert tenv.tunnels.set_rows("vx-a", [row], []) is None
        assert held(tenv.tunnels) == {row}

    def test_two_devices_have_each_their_own_rows(self, tenv: TunnelEnv) -> None:
        other = structs.replace(VX, name="vx-b", alias=tunnel_alias("b"), vni=4098, bridge="br-b")
        assert tenv.tunnels.create([VX, other]) == [None, None]
        assert tenv.tunnels.set_rows("vx-a", [A], []) is None
        moved = structs.replace(A, vtep="192.0.2.9")
        assert tenv.tunnels.set_rows("vx-b", [moved, B], []) is None
        assert (held(tenv.tunnels), held(tenv.tunnels, "vx-b")) == ({A}, {moved, B})
        assert tenv.tunnels.set_rows("vx-b", [], [moved]) is None
        assert held(tenv.tunnels) == {A}

    def test_silence_stops_it(self, tenv: TunnelEnv) -> None:
        assert tenv.tunnels.create([VX]) == [None]
        assert codes(tenv.tunnels.silence(["vx-a", "nosuch"])) == [0, errno.ENODEV]
        link = tenv.links.find("vx-a")
        assert link is not None
        assert not link.up

    def test_a_device_that_is_not_there(self, tenv: TunnelEnv) -> None:
        error = tenv.tunnels.set_rows("nosuch", [A], [])
        assert error is not None
        assert error.errno == errno.ENODEV
        with pytest.raises(KernelError) as caught:
            tenv.tunnels.rows("nosuch")
        assert caught.value.errno == errno.ENODEV

    def test_a_device_made_anew_is_empty(self, tenv: TunnelEnv) -> None:
        assert tenv.tunnels.create([VX]) == [None]
        assert tenv.tunnels.set_rows("vx-a", [A], []) is None
        assert tenv.links.remove(["vx-a"]) == [None]
        assert tenv.tunnels.create([VX]) == [None]
        assert held(tenv.tunnels) == set()
        assert tenv.tunnels.set_rows("vx-a", [B], [A]) is None
        assert held(tenv.tunnels) == {B}

    def test_announcing_on_a_bridge_that_is_not_there(self, tenv: TunnelEnv) -> None:
        error = tenv.tunnels.announce("nosuch", [A])
        assert error is not None
        assert error.errno == errno.ENODEV
        assert tenv.tunnels.announce("br-a", [A, B]) is None
