"""A draft answers as the store would once its changes are committed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.store_conformance import block, endpoint, peer, service
from tests.support.store_conformance import network as stored_network
from towline.control.draft import Draft
from towline.model.cluster import Block, Peer
from towline.model.endpoint import Endpoint
from towline.model.network import Network
from towline.model.sandbox import Sandbox
from towline.model.service import Service
from towline.model.view import View
from towline.store.contract import Change, Delete, Put
from towline.store.memory import MemoryStore

NUMBERS = st.integers(0, 3)


def network(number: int) -> Network:
    return stored_network(number, link=f"br-{number}" if number else "")


def sandbox(number: int, name: str) -> Sandbox:
    return Sandbox(id=f"s{number}", name=name, created=number)


CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(lambda n: Put(network(n)), NUMBERS),
    st.builds(
        lambda n, of, ifname: Put(endpoint(n, network(of), ifname)), NUMBERS, NUMBERS, st.sampled_from(["", "eth0"])
    ),
    st.builds(lambda n, name: Put(sandbox(n, f"name{n}{name}")), NUMBERS, st.sampled_from("ab")),
    st.builds(lambda n: Delete(Network, network(n).id), NUMBERS),
    st.builds(lambda n: Delete(Endpoint, f"e{n}"), NUMBERS),
    st.builds(lambda n: Delete(Sandbox, f"s{n}"), NUMBERS),
    st.builds(lambda n, of: Put(peer(n, network(of).id)), NUMBERS, NUMBERS),
    st.builds(lambda n: Delete(Peer, f"p{n}"), NUMBERS),
    st.builds(lambda n, of: Put(block(n, network(of).id)), NUMBERS, NUMBERS),
    st.builds(lambda n, of: Put(service(n, network(of).id, name=f"N{n}{of}")), NUMBERS, NUMBERS),
    st.builds(lambda n: Delete(Service, f"s{n}"), NUMBERS),
    st.builds(lambda n, of: Delete(Block, block(n, network(of).id).id), NUMBERS, NUMBERS),
)


def answers(view: View) -> dict[str, object]:
    networks = [network(n) for n in range(4)]
    return {
        "networks": {n.id: n for n in view.networks()},
        "by id": [view.network(n.id) for n in networks],
        "by name": [view.network_named(n.name) for n in networks],
        "by link": [view.network_with_link(n.link) for n in networks],
        "endpoints": [view.endpoint(f"e{n}") for n in range(4)],
        "of": [{e.id: e for e in view.endpoints_of(n.id)} for n in networks],
        "is plugged": [view.is_plugged(n.id) for n in networks],
        "plugged": set(view.plugged()),
        "in": [{e.id: e for e in view.endpoints_in(f"s{n}")} for n in range(4)],
        "peer": [view.peer(f"p{n}") for n in range(4)],
        "peers": [{p.id: p for p in view.peers_of(n.id)} for n in networks],
        "rivals": [{p.id: p for p in view.rivals_of(peer(n, networks[0].id))} for n in range(4)],
        "blocks of": [{b.id: b for b in view.blocks_of(n.id)} for n in networks],
        "blocks": {b.id: b for b in view.blocks()},
        "services": {s.id: s for s in view.services()},
        "services on": [{s.id: s for s in view.services_on(n.id)} for n in networks],
        "service named": [view.service_named(f"n{n}{of}") for n in range(4) for of in range(4)],
        "sandboxes": {s.id: s for s in view.sandboxes()},
        "sandbox": [view.sandbox(f"s{n}") for n in range(4)],
        "named": [view.sandbox_named(f"name{n}{x}") for n in range(4) for x in "ab"],
    }


@given(st.lists(CHANGES, max_size=12), st.lists(CHANGES, max_size=12))
def test_a_draft_is_the_future(committed: list[Change], staged: list[Change]) -> None:
    base, future = MemoryStore(), MemoryStore()
    base.update(committed)
    future.update([*committed, *staged])
    draft = Draft(base.view())
    draft.stage(staged)
    assert answers(draft) == answers(future.view())
