import pytest
from msgspec.structs import replace

from towline.drivers.bridge import BridgeDriver, check_link_name, parse_options
from towline.drivers.contract import SkipGateways
from towline.drivers.registry import builtin_drivers
from towline.model.desired import NOTHING, FamilyRules, stable_mac
from towline.model.errors import Failure, Forbidden, InvalidParameter, NotFound, TowlineError
from towline.model.network import Network, Pool
from towline.model.view import View
from towline.store.contract import Put
from towline.store.memory import MemoryStore

ID = "0123456789abcdef" * 4
OTHER_ID = "f" * 64
B = "com.docker.network.bridge."
MTU = "com.docker.network.driver.mtu"


def network(**fields: object) -> Network:
    base = Network(id=ID, name="web", created=1, driver="bridge", pools=(Pool("10.0.1.0/24", gateway="10.0.1.1"),))
    return replace(base, **fields)


def view(*networks: Network) -> View:
    store = MemoryStore()
    store.update([Put(n) for n in networks])
    return store.view()


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        (
            {MTU: "abc"},
            InvalidParameter,
            f'failed to parse {MTU} value: abc (strconv.Atoi: parsing "abc": invalid syntax)',
        ),
        ({MTU: "-5"}, InvalidParameter, "invalid MTU number: -5"),
        (
            {MTU: "9" * 25},
            InvalidParameter,
            f'failed to parse {MTU} value: {"9" * 25} (strconv.Atoi: parsing "{"9" * 25}": value out of range)',
        ),
        (
            {B + "enable_icc": "maybe"},
            InvalidParameter,
            f'failed to parse {B}enable_icc value: maybe (strconv.ParseBool: parsing "maybe": invalid syntax)',
        ),
        (
            {B + "enable_ip_masquerade": ""},
            InvalidParameter,
            f'failed to parse {B}enable_ip_masquerade value:  (strconv.ParseBool: parsing "": invalid syntax)',
        ),
        (
            {B + "gateway_mode_ipv4": "bogus"},
            InvalidParameter,
            f"failed to parse {B}gateway_mode_ipv4 value: bogus (unknown gateway mode bogus)",
        ),
        (
            {B + "gateway_mode_ipv6": "isolated"},
            Failure,
            "gateway mode 'isolated' can only be used for an internal network",
        ),
        (
            {B + "host_binding_ipv4": "zz"},
            InvalidParameter,
            f"failed to parse {B}host_binding_ipv4 value: zz (nil ip)",
        ),
        (
            {"com.docker.network.host_ipv4": "zz"},
            InvalidParameter,
            "failed to parse com.docker.network.host_ipv4 value: zz (nil ip)",
        ),
    ],
)
def test_wrong_options_get_dockers_text(options: dict[str, str], kind: type[TowlineError], text: str) -> None:
    with pytest.raises(kind) as caught:
        BridgeDriver().check(network(options=options))
    assert str(caught.value) == text


def test_no_family_is_refused() -> None:
    with pytest.raises(InvalidParameter, match="IPv4 or IPv6 must be enabled"):
        BridgeDriver().check(network(enable_ipv4=False))


@pytest.mark.parametrize(
    ("fields", "skips"),
    [
        ({}, SkipGateways(False, False)),
        ({"internal": True, "options": {B + "gateway_mode_ipv4": "isolated"}}, SkipGateways(True, False)),
        ({"internal": True, "options": {B + "gateway_mode_ipv6": "isolated"}}, SkipGateways(False, True)),
        ({"options": {B + "inhibit_ipv4": "true"}}, SkipGateways(False, False)),
        ({"internal": True, "options": {B + "inhibit_ipv4": "true"}}, SkipGateways(True, False)),
    ],
)
def test_which_gateways_are_not_allocated(fields: dict[str, object], skips: SkipGateways) -> None:
    assert BridgeDriver().check(network(**fields)) == skips


@pytest.mark.parametrize("name", ["x" * 16, "ü" * 8])
def test_a_long_link_name_is_named_in_the_error(name: str) -> None:
    with pytest.raises(Failure, match=f"^numerical result out of range: bridge name '{name}'"):
        check_link_name(name)


@pytest.mark.parametrize(
    "name", ["a/b", "a b", ".", "..", "a:b", "a\0b", "a\nb", "br%d", "br*", 'br"', "br\x01", "br\x7f", "br\x85", "*"]
)
def test_a_link_name_that_the_kernel_or_a_saved_ruleset_cannot_hold(name: str) -> None:
    with pytest.raises(Failure, match="^invalid argument: bridge name"):
        check_link_name(name)


def test_admission_names_the_link() -> None:
    assert BridgeDriver().admit(network(), view()).link == "br-0123456789ab"
    assert BridgeDriver().admit(network(options={B + "name": "web0"}), view()).link == "web0"


@pytest.mark.parametrize(("mtu", "bound"), [("70000", "above 65535"), ("67", "below 68")])
def test_mtu_that_no_bridge_can_have_is_refused(mtu: str, bound: str) -> None:
    with pytest.raises(Failure, match=f"^invalid argument: MTU {mtu} is {bound}"):
        BridgeDriver().admit(network(options={MTU: mtu}), view())
    BridgeDriver().admit(network(options={MTU: "68"}), view())


def test_same_bridge_name_conflicts() -> None:
    other = network(id=OTHER_ID, name="other", link="web0")
    with pytest.raises(Forbidden) as caught:
        BridgeDriver().admit(network(options={B + "name": "web0"}), view(other))
    assert str(caught.value) == (
        f"cannot create network {ID} (web0): conflicts with network {OTHER_ID} (web0): networks have same bridge name"
    )


def test_shared_subnet_conflicts_on_bridges() -> None:
    other = network(id=OTHER_ID, name="other", link="br-ffff")
    mine = network(pools=(Pool("10.0.1.0/24", ip_range="10.0.1.128/25", gateway="10.0.1.128"),))
    with pytest.raises(Forbidden, match=r"networks have overlapping IPv4$"):
        BridgeDriver().admit(mine, view(other))


@pytest.mark.parametrize(
    ("pools", "kind", "text"),
    [
        ((), InvalidParameter, "ipv4 pool is empty"),
        ((Pool("0.0.0.0/0"),), InvalidParameter, "ipv4 pool is empty"),
        ((Pool("10.0.1.0/24"), Pool("10.0.2.0/24")), Forbidden, "bridge driver doesn't support multiple subnets"),
    ],
)
def test_pools_that_a_bridge_cannot_have(pools: tuple[Pool, ...], kind: type[TowlineError], text: str) -> None:
    with pytest.raises(kind) as caught:
        BridgeDriver().admit(network(pools=pools), view())
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("subnet", "gateway", "text"),
    [
        ("ff00::/64", "ff00::1", "multicast subnet 'ff00::1/64' is not allowed"),
        ("fe80::/10", "fe80::1", "'fe80::1/10' clashes with the Link-Local prefix 'fe80::/64'"),
    ],
)
def test_ipv6_subnets_that_a_bridge_cannot_have(subnet: str, gateway: str, text: str) -> None:
    pools = (Pool("10.0.1.0/24", gateway="10.0.1.1"), Pool(subnet, gateway=gateway))
    with pytest.raises(InvalidParameter) as caught:
        BridgeDriver().admit(network(enable_ipv6=True, pools=pools), view())
    assert str(caught.value) == text


def test_the_link_local_prefix_itself_is_accepted() -> None:
    pools = (Pool("10.0.1.0/24"), Pool("fe80::/64", gateway="fe80::1"))
    assert BridgeDriver().admit(network(enable_ipv6=True, pools=pools), view()).link


def test_desired_state_of_a_plain_network() -> None:
    desired = BridgeDriver().desired(network(link="br-0123456789ab"))
    assert desired.bridge is not None
    assert desired.rules is not None
    assert desired.bridge.addresses == ("10.0.1.1/24",)
    assert desired.bridge.alias == f"towline:network:{ID}"
    assert desired.bridge.ipv6_off
    assert desired.rules.ipv4 == FamilyRules("nat", masquerade=True)
    assert desired.rules.ipv6 is None
    assert desired.rules.icc


@pytest.mark.parametrize(
    ("options", "internal", "addresses", "rules"),
    [
        ({B + "inhibit_ipv4": "1"}, False, (), FamilyRules("nat", True)),
        ({B + "gateway_mode_ipv4": "routed"}, False, ("10.0.1.1/24",), FamilyRules("routed", False)),
        ({B + "gateway_mode_ipv4": "nat-unprotected"}, False, ("10.0.1.1/24",), FamilyRules("nat-unprotected", True)),
        ({B + "gateway_mode_ipv4": "isolated"}, True, (), FamilyRules("isolated", False)),
        ({B + "enable_ip_masquerade": "false"}, False, ("10.0.1.1/24",), FamilyRules("nat", False)),
        ({"com.docker.network.host_ipv4": "1.2.3.4"}, False, ("10.0.1.1/24",), FamilyRules("nat", True, "1.2.3.4")),
        ({}, True, ("10.0.1.1/24",), FamilyRules("nat", False)),
    ],
)
def test_options_shape_the_desired_state(
    options: dict[str, str], internal: bool, addresses: tuple[str, ...], rules: FamilyRules
) -> None:
    desired = BridgeDriver().desired(network(options=options, internal=internal, link="b"))
    assert desired.bridge is not None
    assert desired.rules is not None
    assert (desired.bridge.addresses, desired.rules.ipv4) == (addresses, rules)


@pytest.mark.parametrize(
    ("options", "fields", "localnet"),
    [
        ({}, {}, True),
        ({B + "gateway_mode_ipv4": "nat-unprotected"}, {}, True),
        ({B + "enable_ip_masquerade": "false"}, {}, True),
        ({B + "gateway_mode_ipv4": "routed"}, {}, False),
        ({B + "gateway_mode_ipv4": "isolated"}, {"internal": True}, False),
        ({}, {"internal": True}, False),
        ({}, {"enable_ipv4": False, "enable_ipv6": True}, False),
    ],
)
def test_loopback_is_routed_where_ports_of_it_can_be_published(
    options: dict[str, str], fields: dict[str, object], localnet: bool
) -> None:
    bridge = BridgeDriver().desired(network(options=options, link="b", **fields)).bridge
    assert bridge is not None
    assert bridge.route_localnet is localnet


def test_the_mac_is_stable_unicast_and_local() -> None:
    mac = stable_mac(ID)
    assert mac == stable_mac(ID) == "02:01:23:45:67:89"
    assert int(mac[:2], 16) & 3 == 2


def test_unknown_options_are_kept_out_of_the_way() -> None:
    assert parse_options({"x.y": "z"}) == parse_options({})


def test_single_instance_drivers() -> None:
    host = builtin_drivers().get("host")
    first = Network(id=ID, name="host", created=1, driver="host")
    assert host.admit(first, view()) == first
    assert host.desired(first) == NOTHING
    with pytest.raises(Forbidden, match='^only one instance of "host" network is allowed$'):
        host.admit(replace(first, id=OTHER_ID, name="x"), view(first))


def test_unknown_driver() -> None:
    with pytest.raises(NotFound, match='^plugin "BRIDGE" not found$'):
        builtin_drivers().get("BRIDGE")
