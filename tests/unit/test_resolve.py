from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from towline.model.errors import InvalidParameter, NotFound
from towline.model.network import Network
from towline.policy.resolve import Listing, Lookup, for_connect, for_delete, for_get
from towline.store.contract import Put
from towline.store.memory import MemoryStore


def net(network_id: str, name: str, scope: str = "local") -> Network:
    return Network(id=network_id.ljust(64, "0"), name=name, created=0, driver="bridge", phase="ready", scope=scope)


NETWORKS = (net("aa1", "web"), net("aa2", "db"), net("b", "aa1"), net("c", "a b"), net("d", "global", "swarm"))


def listing() -> Lookup:
    return Listing(NETWORKS)


def stored() -> Lookup:
    store = MemoryStore()
    store.update([Put(network) for network in NETWORKS])
    return store.view()


@pytest.fixture(params=[listing, stored])
def lookup(request: pytest.FixtureRequest) -> Lookup:
    make: Callable[[], Lookup] = request.param
    return make()


@pytest.mark.parametrize("resolve", [for_get, for_delete, for_connect])
@pytest.mark.parametrize(
    ("term", "name"),
    [
        ("aa1".ljust(64, "0"), "web"),
        ("web", "web"),
        ("a b", "a b"),
        ("aa10", "web"),
        ("aa1", "aa1"),  # a name wins over the prefix of another's id
        ("c", "a b"),
    ],
)
def test_full_id_then_name_then_prefix(
    lookup: Lookup, resolve: Callable[[Lookup, str], Network], term: str, name: str
) -> None:
    assert resolve(lookup, term).name == name


@pytest.mark.parametrize("resolve", [for_get, for_delete, for_connect])
@pytest.mark.parametrize("term", ["nope", "WEB", "aa1".ljust(65, "0"), "a b ", "\0", "aa3"])
def test_unknown(lookup: Lookup, resolve: Callable[[Lookup, str], Network], term: str) -> None:
    with pytest.raises(NotFound) as refusal:
        resolve(lookup, term)
    assert str(refusal.value) == f"network {term} not found"


@pytest.mark.parametrize(
    ("resolve", "term", "text"),
    [
        (for_get, "aa", "2 matches found based on ID prefix: network aa is ambiguous"),
        (for_delete, "aa", "network aa is ambiguous (2 matches found based on ID prefix)"),
        (for_delete, "", "network  is ambiguous (5 matches found based on ID prefix)"),
        (for_connect, "aa", "network aa is ambiguous (2 matches found based on ID prefix)"),
    ],
)
def test_ambiguous(lookup: Lookup, resolve: Callable[[Lookup, str], Network], term: str, text: str) -> None:
    with pytest.raises(InvalidParameter) as refusal:
        resolve(lookup, term)
    assert str(refusal.value) == text


def test_scope_hides_networks_of_others(lookup: Lookup) -> None:
    assert for_get(lookup, "global", "swarm").name == "global"
    assert for_get(lookup, "aa20", "local").name == "db"
    for term in ("web", "aa1".ljust(64, "0"), "aa10"):
        with pytest.raises(NotFound):
            for_get(lookup, term, "swarm")


def test_names_and_ids_cost_the_same_with_many_networks() -> None:
    store = MemoryStore()
    store.update([Put(net(f"{number:064x}", f"n{number}")) for number in range(10_000)])
    view = store.view()
    began = time.perf_counter()
    for number in range(0, 10_000, 10):
        assert for_get(view, f"n{number}").id == for_delete(view, f"{number:064x}").id
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize("term", ["0zqk3v7n1mhx2u9f8c6d5e4ab", "ov", "0zqk"])
def test_the_25_digits_of_a_global_network(term: str) -> None:
    found = Network(id="0zqk3v7n1mhx2u9f8c6d5e4ab", name="ov", created=0, driver="overlay", scope="swarm")
    store = MemoryStore()
    store.update([Put(net("0", "local")), Put(found)])
    for networks in (Listing([net("0", "local"), found]), store.view()):
        assert {resolve(networks, term).id for resolve in (for_get, for_delete, for_connect)} == {found.id}
