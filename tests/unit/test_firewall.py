"""Properties of the firewall's values: they fit their sets, refer to what exists, and say what they should."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.firewall import (
    PublishedPort,
    admit_changes,
    admit_rule,
    base,
    endpoint_elements,
    keys,
    network_elements,
    published_elements,
    withdraw_changes,
)
from towline.kernel.contract import AddElements, AddTable, DeleteElements
from towline.kernel.fake_nft import FakeNft
from towline.model.desired import FamilyRules, NetworkRules
from towline.model.ruleset import DeleteForeign, ForeignChain, InsertForeign, Lookup, TableId, Verdict

_NAMES = st.text("abcdefghij0123456789-_.", min_size=1, max_size=15)
_MODES = st.sampled_from(("nat", "nat-unprotected", "routed", "isolated"))


def _family(address: str) -> st.SearchStrategy[FamilyRules | None]:
    return st.none() | st.builds(FamilyRules, _MODES, st.booleans(), st.sampled_from(("", address)))


NETWORKS = st.builds(
    NetworkRules,
    bridge=_NAMES,
    ipv4=_family("192.0.2.1"),
    ipv6=_family("2001:db8::1"),
    icc=st.booleans(),
    internal=st.booleans(),
    trusted=st.lists(_NAMES, max_size=3).map(tuple),
)
PORTS = st.builds(
    PublishedPort,
    host_ip=st.just(""),
    host_port=st.integers(1, 65535),
    protocol=st.sampled_from(("tcp", "udp", "sctp")),
    address=st.sampled_from(("172.18.0.2", "fd00::2")),
    port=st.integers(1, 65535),
)


@given(st.lists(NETWORKS, max_size=4, unique_by=lambda network: network.bridge), PORTS)
def test_elements_fit_their_sets_and_can_be_taken_out_again(networks: list[NetworkRules], port: PublishedPort) -> None:
    nft = FakeNft()
    nft.commit([AddTable(table) for table in base()])
    empty = [nft.read(table.id) for table in base()]
    groups = [network_elements(network) for network in networks]
    groups += [published_elements(network, port) for network in networks[:1]]
    groups += [endpoint_elements(n, "veth1", "02:42:ac:12:00:02", ["172.18.0.2/16", "fd00::2"]) for n in networks[:1]]
    for group in groups:
        assert len(set(group)) == len(group)
        nft.commit([AddElements(group)])
    for group in groups:
        nft.commit([DeleteElements(group)])
    assert [nft.read(table.id) for table in base()] == empty


def test_rules_refer_to_what_exists_in_their_table() -> None:
    for table in base():
        sets = {item.name for item in table.sets}
        chains = {chain.name for chain in table.chains}
        for expr in (expr for chain in table.chains for rule in chain.rules for expr in rule.exprs):
            if isinstance(expr, Lookup):
                assert expr.set in sets
            if isinstance(expr, Verdict) and expr.chain:
                assert expr.chain in chains


def test_every_set_is_used_by_a_rule() -> None:
    for table in base():
        used = {e.set for c in table.chains for rule in c.rules for e in rule.exprs if isinstance(e, Lookup)}
        assert used == {item.name for item in table.sets}


def test_the_digest_is_in_the_first_rule_only() -> None:
    for table in base():
        names = [rule.name for chain in table.chains for rule in chain.rules]
        assert "(ruleset " in names[0]
        assert not any("(ruleset " in name for name in names[1:])
        assert all(len(name.encode()) <= 128 for name in names)


def test_trusted_names_that_no_interface_can_have_are_passed_over() -> None:
    rules = NetworkRules("br-a", FamilyRules(), None, trusted=("eth1", "", "x" * 16, "a\0b"))
    trusted = [element.key[:16] for element in network_elements(rules) if element.set == "trusted"]
    assert trusted == [keys.ifname("eth1")]


@pytest.mark.parametrize("name", ["", "x" * 16, "é" * 8, "a\0b"])
def test_interface_names_that_do_not_fit(name: str) -> None:
    with pytest.raises(ValueError, match="must have 1 to 15 bytes"):
        keys.ifname(name)


def test_other_keys_that_are_wrong() -> None:
    with pytest.raises(ValueError, match="unknown protocol"):
        keys.protocol("gre")
    with pytest.raises(ValueError, match="invalid MAC"):
        keys.ether("02:42:ac:12:00")


@pytest.mark.parametrize(
    ("mac", "address"),
    [("02:42:ac:11:00:02", "fe80::42:acff:fe11:2"), ("00:00:00:00:00:01", "fe80::200:ff:fe00:1")],
)
def test_link_local_address_of_a_mac(mac: str, address: str) -> None:
    assert keys.link_local(mac) == address


IPTABLES, IP6TABLES = TableId("ip", "filter"), TableId("ip6", "filter")
FIREWALLD = TableId("inet", "firewalld")
OURS = admit_rule(IPTABLES).name


def chain(table: TableId, name: str = "FORWARD", policy: str = "drop", rules: tuple[str, ...] = ()) -> ForeignChain:
    return ForeignChain(table, name, 2, 0, policy, tuple(enumerate(rules, 1)))


@pytest.mark.parametrize(
    "foreign",
    [
        chain(IPTABLES),
        chain(IP6TABLES, policy="accept", rules=("",)),
        chain(FIREWALLD, "filter_FORWARD", "accept", ("", "")),
    ],
)
def test_a_chain_that_may_drop_gets_our_rule(foreign: ForeignChain) -> None:
    assert admit_changes([foreign]) == (InsertForeign(foreign.table, foreign.chain, admit_rule(foreign.table)),)


@pytest.mark.parametrize(
    "foreign",
    [
        chain(IPTABLES, policy="accept"),
        chain(IPTABLES, rules=(OURS, "", "")),
        chain(IPTABLES, rules=("", "", OURS)),
        chain(IPTABLES, "OTHER", rules=("",)),
        chain(TableId("inet", "filter"), "forward", rules=("",)),
    ],
)
def test_a_chain_that_is_left_alone(foreign: ForeignChain) -> None:
    assert admit_changes([foreign]) == ()


def test_surplus_rules_of_ours_go() -> None:
    foreign = chain(IPTABLES, rules=(OURS, "", OURS, OURS))
    assert admit_changes([foreign]) == (DeleteForeign(IPTABLES, "FORWARD", 3), DeleteForeign(IPTABLES, "FORWARD", 4))
    assert [change.handle for change in withdraw_changes([foreign, chain(IP6TABLES, rules=("",))])] == [1, 3, 4]
