"""The real nftables client: the conformance suite, and `nft` as the judge of what it made."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import msgspec
import pytest

from tests.support.netns import Namespace
from tests.support.nft_conformance import CASES, FOREIGN, ID, PORT, SOURCE, TABLE, name, named
from towline.control.compare import ReplaceTable, compare_table
from towline.kernel import nft_codec as codec
from towline.kernel.contract import AddElements, AddTable
from towline.kernel.netlink import NetlinkSocket, iter_messages
from towline.kernel.nft import NfNetlinkNft
from towline.model.errors import KernelError
from towline.model.ruleset import Chain, Element, Set

_NETLINK_NETFILTER, _NFTABLES_GROUP = 12, 7
_FOREIGN = f"""
table ip {FOREIGN.name} {{
    chain FORWARD {{ type filter hook forward priority 0; policy drop; counter accept; counter drop; }}
    chain INPUT {{ type filter hook input priority 0; }}
}}
"""


@pytest.fixture
def nft(ns: Namespace) -> Iterator[NfNetlinkNft]:
    client = ns.call(NfNetlinkNft)
    yield client
    client.close()


def listed(ns: Namespace, kind: str) -> list[dict[str, Any]]:
    found = json.loads(ns.run(["nft", "-j", "list", "ruleset"]))["nftables"]
    return [entry[kind] for entry in found if kind in entry]


@pytest.mark.parametrize("case", CASES)
def test_conformance(case: str, ns: Namespace, nft: NfNetlinkNft) -> None:
    ns.run(["nft", "-f", "-"], input=_FOREIGN)
    CASES[case](nft)


def test_nft_reads_sets_and_elements_as_meant(ns: Namespace, nft: NfNetlinkNft) -> None:
    pair = Element(ID, "pairs", name(1) + name(2))
    nft.commit([AddTable(TABLE), AddElements((named(1), pair, PORT, SOURCE))])
    sets = {entry["name"]: entry for entry in (*listed(ns, "set"), *listed(ns, "map"))}
    assert sets["names"]["type"] == "ifname"
    assert sets["names"]["comment"] == "towline: some"
    assert sets["names"]["elem"] == ["br-1"]
    assert sets["pairs"]["elem"] == [{"concat": ["br-1", "br-2"]}]
    assert sets["ports"]["type"] == ["ipv4_addr", "inet_proto", "inet_service"]
    assert sets["ports"]["elem"] == [[{"concat": ["10.0.0.1", "tcp", 80]}, {"concat": ["172.17.0.2", 8080]}]]
    assert sets["sources"]["elem"] == [["br-1", "1:203:405:607:809:a0b:c0d:e0f"]]


def test_nft_reads_chains_and_rules_as_meant(ns: Namespace, nft: NfNetlinkNft) -> None:
    nft.commit([AddTable(TABLE)])
    chains = {entry["name"]: entry for entry in listed(ns, "chain")}
    assert chains["forward"].items() >= {"type": "filter", "hook": "forward", "prio": -10, "policy": "accept"}.items()
    assert "hook" not in chains["plain"]
    rules = [(entry["chain"], entry["comment"], *entry["expr"][1]) for entry in listed(ns, "rule")]
    assert rules == [("forward", "first", "accept"), ("forward", "second", "drop"), ("plain", "third", "accept")]


def test_what_nft_adds_is_read(ns: Namespace, nft: NfNetlinkNft) -> None:
    nft.commit([AddTable(TABLE)])
    ns.run(["nft", "add element inet towline-test names { br-7 }"])
    ns.run(["nft", "insert rule inet towline-test forward accept"])
    state = nft.read(ID)
    assert state is not None
    assert state.sets["names"] == {name(7): b""}
    assert state.chains["forward"] == ("", "first", "second")


def test_the_operators_chains_sets_and_rules_survive_a_replacement(ns: Namespace, nft: NfNetlinkNft) -> None:
    nft.commit([AddTable(TABLE)])
    operators = """
        add set inet towline-test evil { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
        add chain inet towline-test mine
        add rule inet towline-test mine ip saddr @evil drop
        add rule inet towline-test user iifname @names jump mine comment "no evil"
    """
    ns.run(["nft", "-f", "-"], input=operators)
    before = ns.run(["nft", "list", "chain", "inet", "towline-test", "user"])
    nft.commit([AddTable(TABLE), AddElements((named(1),))])
    assert ns.run(["nft", "list", "chain", "inet", "towline-test", "user"]) == before
    assert "192.0.2.0/24" in ns.run(["nft", "list", "set", "inet", "towline-test", "evil"])
    state = nft.read(ID)
    assert state is not None
    assert state.chains == {"user": ("no evil",), "forward": ("first", "second"), "plain": ("third",)}
    assert set(state.sets) == {item.name for item in TABLE.sets}


def test_replacing_is_one_transaction(ns: Namespace, nft: NfNetlinkNft) -> None:
    nft.commit([AddTable(TABLE), AddElements((named(2),))])
    with ns.call(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as events:
        events.bind((0, 1 << _NFTABLES_GROUP - 1))
        nft.commit([AddTable(TABLE), AddElements((named(1),))])
        kinds: list[int] = []
        with suppress(BlockingIOError):
            while True:
                kinds += [part.type for part in iter_messages(events.recv(1 << 20, socket.MSG_DONTWAIT))]
    assert kinds.count(codec.NEWGEN) == 1
    assert kinds.count(codec.NEWRULE) == kinds.count(codec.DELRULE) == 3
    assert codec.DELTABLE not in kinds
    assert codec.DELCHAIN not in kinds


def test_a_table_that_changes_meanwhile_is_planned_again(
    ns: Namespace, nft: NfNetlinkNft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process adds a set to our table between our dump and our commit, twice."""
    nft.commit([AddTable(TABLE)])
    read_generation = nft._generation
    meddling = iter(("a", "b"))

    def generation() -> int:
        found = read_generation()
        if letter := next(meddling, ""):
            ns.run(["nft", f"add set inet towline-test {letter} {{ type mark; }}"])
        return found

    monkeypatch.setattr(nft, "_generation", generation)
    nft.commit([AddTable(TABLE), AddElements((named(1),))])
    state = nft.read(ID)
    assert state is not None
    assert state.sets["names"] == {name(1): b""}
    assert {entry["name"] for entry in listed(ns, "set")} >= {"a", "b"}


def test_a_ruleset_that_never_rests_is_given_up(
    ns: Namespace, nft: NfNetlinkNft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nft, "_generation", lambda: 4_000_000_000)
    with pytest.raises(KernelError, match="keeps changing") as caught:
        nft.commit([AddTable(TABLE)])
    assert caught.value.errno == errno.EAGAIN
    assert nft.read(ID) is None


def test_an_operators_rule_that_holds_a_set_of_ours_is_named(ns: Namespace, nft: NfNetlinkNft) -> None:
    """It does not stand in the way of replacing that set's elements, only of redefining it."""
    nft.commit([AddTable(TABLE)])
    ns.run(["nft", "add rule inet towline-test user iifname @names drop"])
    nft.commit([AddTable(TABLE)])
    changed = msgspec.structs.replace(TABLE, sets=(Set("names", ("ether_addr",)), *TABLE.sets[1:]))
    with pytest.raises(KernelError, match="delete set inet towline-test names") as caught:
        nft.commit([AddTable(changed)])
    assert caught.value.errno == errno.EBUSY
    state = nft.read(ID)
    assert state is not None
    assert state.chains["forward"] == ("first", "second")


MARKED = 'comment "towline";'


def remade_chain(name: str, priority: int, comment: str) -> list[str]:
    chain = f"chain inet {ID.name} {name}"
    hook = f"type filter hook forward priority {priority}; policy accept; {comment}"
    return [f"flush {chain}", f"delete {chain}", f"add {chain} {{ {hook} }}"]


def remade_set(kind: str, item: str, body: str) -> list[str]:
    return [f"delete {kind} inet {ID.name} {item}", f"add {kind} inet {ID.name} {item} {{ {body} }}"]


@pytest.mark.parametrize(
    "script",
    [
        [f"chain inet {ID.name} forward {{ policy drop; }}"],
        [f"table inet {ID.name} {{ flags dormant; }}"],
        [f"flush chain inet {ID.name} forward", f"delete chain inet {ID.name} forward"],
        remade_chain("forward", -10, ""),
        remade_chain("forward", -9, MARKED),
        remade_chain("plain", 7, MARKED),
        remade_set("set", "names", f"type ifname; flags timeout; {MARKED}"),
        remade_set("set", "names", f"type ipv4_addr; {MARKED}"),
        remade_set("set", "names", "type ifname;"),
        remade_set("map", "sources", f"type ifname : ipv4_addr; {MARKED}"),
        [f"delete table inet {ID.name}"],
    ],
    ids=lambda script: script[-1],
)
def test_whatever_was_changed_is_seen_and_mended(ns: Namespace, nft: NfNetlinkNft, script: list[str]) -> None:
    """Chains that are made again get our rules back at once, so that their names do not give it away."""
    elements = [named(1)] if " names " not in script[-1] else []
    nft.commit([AddTable(TABLE), AddElements(tuple(elements))])
    before = nft.read(ID)
    assert compare_table(TABLE, elements, before) == []
    ns.run(["nft", "-f", "-"], input="\n".join(script))
    for chain in TABLE.chains:
        if f"add chain inet {ID.name} {chain.name} " in script[-1]:
            ns.call(put_rules, chain)
    differences = compare_table(TABLE, elements, nft.read(ID))
    assert [type(difference.act) for difference in differences] == [ReplaceTable]
    nft.commit([AddTable(TABLE), AddElements(tuple(elements))])
    assert nft.read(ID) == before


def put_rules(chain: Chain) -> None:
    with closing(NetlinkSocket(_NETLINK_NETFILTER)) as sock:
        messages = [codec.add_rule(ID, chain.name, rule).message for rule in chain.rules]
        assert [ack.errno for ack in sock.batch(codec.batch_begin(), messages, codec.BATCH_END)] == [0] * len(messages)
