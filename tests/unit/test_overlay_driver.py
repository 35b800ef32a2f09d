import pytest
from msgspec.structs import replace

from towline.drivers.overlay import (
    GATEWAY_NETWORK,
    OverlayDriver,
    UnderlayHolder,
    gateway_network_request,
    parse_options,
    usable_mtu,
)
from towline.drivers.registry import builtin_drivers
from towline.firewall import OVERLAY, endpoint_elements
from towline.model.cluster import Peer, Underlay
from towline.model.desired import NOTHING, Bridge, Route, Row, Vxlan, stable_mac
from towline.model.endpoint import Endpoint
from towline.model.errors import Failure, InvalidParameter, TowlineError
from towline.model.network import Network, Pool
from towline.model.view import View
from towline.plan.rows import rows_of
from towline.policy.network import Admission
from towline.store.memory import MemoryStore

ID = "z5nsxvc6w0hkp7e1q8m2b4d9r"
VNIS = "com.docker.network.driver.overlay.vxlanid_list"
MTU = "com.docker.network.driver.mtu"
UNDERLAY = Underlay("192.0.2.1", 4789, 1500)
POOLS = (Pool("10.0.1.0/24", gateway="10.0.1.1"), Pool("10.0.2.0/24"), Pool("fd00:1::/64"), Pool("fd00:2::/64"))


def network(**fields: object) -> Network:
    base = Network(
        id=ID, name="ov", created=1, driver="overlay", scope="swarm", pools=POOLS[:1], options={VNIS: "4097"}
    )
    return replace(base, **fields)


def driver(underlay: Underlay | None = UNDERLAY, deduction: int = 0) -> OverlayDriver:
    return OverlayDriver(UnderlayHolder(underlay, deduction=deduction))


def view() -> View:
    return MemoryStore().view()


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({VNIS: "x"}, InvalidParameter, 'invalid vxlan id value "x" passed'),
        ({VNIS: "4097,"}, InvalidParameter, 'invalid vxlan id value "" passed'),
        ({VNIS: "16777216"}, InvalidParameter, 'invalid vxlan id value "16777216" passed'),
        ({VNIS: "٣"}, InvalidParameter, 'invalid vxlan id value "٣" passed'),
        ({VNIS: "9" * 9999}, InvalidParameter, f'invalid vxlan id value "{"9" * 64}" passed'),
        ({MTU: "abc"}, InvalidParameter, 'failed to parse abc: strconv.Atoi: parsing "abc": invalid syntax'),
        (
            {MTU: "9" * 25},
            InvalidParameter,
            f'failed to parse {"9" * 25}: strconv.Atoi: parsing "{"9" * 25}": value out of range',
        ),
        ({MTU: "-1"}, InvalidParameter, "invalid MTU value: -1"),
        ({MTU: "100"}, Failure, "invalid argument: MTU 100 is not from 138 to 65535, what VXLAN can have"),
        ({MTU: "70000"}, Failure, "invalid argument: MTU 70000 is not from 138 to 65535, what VXLAN can have"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, str], kind: type[TowlineError], text: str) -> None:
    with pytest.raises(kind) as caught:
        driver().check(network(options=options))
    assert str(caught.value) == text


def test_an_mtu_that_leaves_no_room_for_ipv6_is_refused() -> None:
    driver().check(network(options={MTU: "1300"}))
    with pytest.raises(Failure, match="the 1280 of IPv6"):
        driver().check(network(options={MTU: "1300"}, enable_ipv6=True))


@pytest.mark.parametrize(
    ("options", "text"),
    [({}, "no VNI provided"), ({VNIS: ""}, "no VNI provided"), ({VNIS: "7"}, "insufficient vnis(1) passed to overlay")],
)
def test_admission_wants_an_id_for_each_ipv4_subnet(options: dict[str, str], text: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        driver().admit(network(options=options, pools=POOLS), view())
    assert str(caught.value) == text
    assert driver().admit(network(options={VNIS: "7,8"}, pools=POOLS), view()).link == "br-z5nsxvc6w0hk"


def test_a_network_is_a_bridge_without_addresses_and_a_tunnel() -> None:
    wanted = driver().desired(network(options={VNIS: "4099,4100"}, pools=POOLS, enable_ipv6=True))
    name = "overlay/br-z5nsxvc6w0hk"
    assert wanted.bridge == Bridge(
        name, f"towline:network:{ID}", stable_mac(ID), mtu=1450, addresses=(), ipv6_off=True, route_localnet=False
    )
    assert wanted.tunnel == Vxlan(
        "overlay/vx-z5nsxvc6w0hk",
        f"towline:tunnel:{ID}",
        stable_mac(f"tunnel {ID}"),
        4099,
        4789,
        "192.0.2.1",
        1450,
        name,
    )
    assert wanted.tunnel.mac != wanted.bridge.mac
    assert wanted.rules is None


def test_outside_a_cluster_there_is_nothing() -> None:
    place = UnderlayHolder()
    drivers = builtin_drivers(place)
    assert drivers.desired(network()) == NOTHING
    assert drivers.get("overlay").attach(network(), Endpoint("e" * 64, "c1", ID)) is None
    place.underlay = UNDERLAY
    assert drivers.desired(network()).tunnel is not None
    assert drivers.get("overlay").scope == "global"


@pytest.mark.parametrize("options", [{}, {VNIS: "x"}, {VNIS: "7", MTU: "x"}, {VNIS: "7", MTU: "60"}])
def test_a_record_that_cannot_be_realised_is_nothing(options: dict[str, str]) -> None:
    assert driver().desired(network(options=options)) == NOTHING
    assert driver().attach(network(options=options), Endpoint("e" * 64, "c1", ID)) is None


@pytest.mark.parametrize(
    ("option", "underlay", "deduction", "mtu"),
    [
        (0, UNDERLAY, 0, 1450),
        (0, Underlay("2001:db8::1", mtu=1500), 0, 1430),
        (0, Underlay("192.0.2.1", mtu=9000), 0, 8950),
        (1400, UNDERLAY, 0, 1350),
        (0, UNDERLAY, 60, 1390),
    ],
)
def test_mtu(option: int, underlay: Underlay, deduction: int, mtu: int) -> None:
    assert usable_mtu(option, underlay, deduction=deduction) == mtu
    options = {VNIS: "7", **({MTU: str(option)} if option else {}), **({"encrypted": ""} if deduction else {})}
    underlay = replace(underlay, secure="fd00::/48")
    desired = driver(underlay, deduction).desired(network(options=options))
    assert desired.bridge is not None
    assert desired.tunnel is not None
    assert (desired.bridge.mtu, desired.tunnel.mtu) == (mtu, mtu)
    plain = driver(underlay, 60).desired(network(options={VNIS: "7"})).tunnel
    assert plain is not None
    assert plain.mtu == usable_mtu(0, underlay)


def test_an_endpoint_has_routes_to_the_other_subnets_and_no_gateway() -> None:
    endpoint = Endpoint(
        "e" * 64,
        "c1",
        ID,
        mac="02:00:00:00:00:05",
        ipv4="10.0.2.5/24",
        ipv6="fd00:1::5/64",
        ifname="eth0",
        host_link="veth1",
    )
    attached = driver().attach(network(pools=POOLS, enable_ipv6=True, options={VNIS: "7,8"}), endpoint)
    assert attached is not None
    assert (attached.gateway4, attached.gateway6) == (None, None)
    made = attached.interface
    assert (made.bridge, made.mtu, made.fixed, made.ipv6_off) == (
        "overlay/br-z5nsxvc6w0hk",
        1450,
        True,
        False,
    )
    assert made.host_name == "overlay/veth1"
    assert {e.table for e in endpoint_elements(attached.rules, "veth1", made.mac, made.addresses)} == {OVERLAY}
    assert made.addresses == ("10.0.2.5/24", "fd00:1::5/64")
    assert made.routes == (Route("10.0.1.0/24"), Route("fd00:2::/64"))
    only4 = driver().attach(network(pools=POOLS[:2], options={VNIS: "7,8"}), replace(endpoint, ipv6=""))
    assert only4 is not None
    assert only4.interface.routes == (Route("10.0.1.0/24"),)
    assert only4.interface.ipv6_off
    assert parse_options({"encrypted": ""}).encrypted


def test_the_gateway_network_is_an_ordinary_bridge_network() -> None:
    request, found = Admission(builtin_drivers(), {}).admit(gateway_network_request(), view())
    assert found is not None
    assert (request.name, found.name, request.scope) == (GATEWAY_NETWORK, "bridge", "local")
    pools = (Pool("172.18.0.0/16", gateway="172.18.0.1"),)
    record = Network("a" * 64, request.name, 1, found.name, options=request.options, pools=pools)
    desired = found.desired(found.admit(record, view()))
    assert desired.bridge is not None
    assert desired.rules is not None
    assert (desired.bridge.name, desired.rules.icc) == ("docker_gwbridge", False)
    assert desired.rules.ipv4 is not None
    assert desired.rules.ipv4.masquerade


def peer(number: int, **fields: object) -> Peer:
    made = Peer(
        f"e{number}", ID, "n1", "192.0.2.2", f"02:00:00:00:00:{number:02x}", ipv4=f"10.0.1.{number}/24", ipv6=""
    )
    return replace(made, **fields)


def test_a_peer_is_a_row() -> None:
    peers = [peer(2, ipv6="FD00:1:0::2/64", mac="02:AA:00:00:00:02"), peer(3, ipv4="")]
    assert rows_of(peers, "192.0.2.1") == (
        Row("02:aa:00:00:00:02", "192.0.2.2", ("10.0.1.2", "fd00:1::2")),
        Row("02:00:00:00:00:03", "192.0.2.2"),
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"mac": "00:00:00:00:00:00"},
        {"mac": "ff:ff:ff:ff:ff:ff"},
        {"mac": "01:00:5e:00:00:01"},
        {"mac": "02:00"},
        {"mac": ""},
        {"vtep": ""},
        {"vtep": "192.0.2.1"},
        {"vtep": "2001:db8::2"},
        {"vtep": "239.1.1.1"},
        {"vtep": "example.org"},
    ],
)
def test_a_peer_that_could_harm_is_passed_over(fields: dict[str, object]) -> None:
    assert rows_of([peer(2, **fields), peer(3)], "192.0.2.1") == rows_of([peer(3)])


def test_addresses_that_no_endpoint_has_are_passed_over() -> None:
    for text in ("0.0.0.0/0", "224.0.0.1/24", "127.0.0.1/8", "x", "10.0.1.300/24"):
        assert rows_of([peer(2, ipv4=text)]) == (Row("02:00:00:00:00:02", "192.0.2.2"),)


def test_of_two_claims_the_later_epoch_wins_in_any_order() -> None:
    old, new = peer(2, vtep="192.0.2.7"), peer(2, epoch=2)
    assert rows_of([old, new]) == rows_of([new, old]) == (Row(new.mac, "192.0.2.2", ("10.0.1.2",)),)
    thief = peer(3, ipv4="10.0.1.2/24")
    held = {(row.mac, row.addresses) for row in rows_of([thief, new])}
    assert held == {(new.mac, ("10.0.1.2",)), (thief.mac, ())}
