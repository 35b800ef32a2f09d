"""What is said again from memory is what would be said anew."""

from __future__ import annotations

import dns.message

from tests.support.dns_lab import World, sandbox_id_of
from towline.dns.answer import answer
from towline.dns.memo import Memo


def _wire(name: str, ident: int = 1, *, edns: bool = False) -> bytes:
    query = dns.message.make_query(name, "A", use_edns=edns)
    query.id = ident
    return query.to_wire()


class _Asker:
    """As the server asks: from memory if it is known, else made and noted."""

    def __init__(self, world: World) -> None:
        self.world, self.memo, self.remembered = world, Memo(), 0

    def __call__(self, query: bytes) -> bytes | None:
        names = self.world.directory.names(sandbox_id_of("a"))
        same = self.memo.at(self.world.directory.generation).get(query[2:])
        if same is not None:
            self.remembered += 1
            return query[:2] + same
        said = answer(query, names, self.memo.shuffle)
        if not isinstance(said, bytes):
            return None
        self.memo.note(query, said)
        return said


def _asker() -> tuple[_Asker, str]:
    world = World()
    network = world.add_network("n")
    world.join(network, "a", ipv4="10.1.0.2")
    world.join(network, "web", ipv4="10.1.0.3")
    return _Asker(world), network


def _addresses(said: bytes | None) -> list[str] | None:
    return None if said is None else sorted(str(item) for rrset in dns.message.from_wire(said).answer for item in rrset)


def test_the_same_question_with_another_id_is_answered_from_memory() -> None:
    ask, _ = _asker()
    first, second = ask(_wire("web", 1)), ask(_wire("web", 2))
    assert first is not None
    assert second == b"\0\2" + first[2:]
    assert ask.remembered == 1


def test_another_spelling_and_edns_are_other_questions() -> None:
    ask, _ = _asker()
    said = [ask(query) for query in (_wire("web"), _wire("WEB"), _wire("web", edns=True))]
    assert ask.remembered == 0
    assert len(set(said)) == 3


def test_a_change_of_the_records_is_seen_at_once() -> None:
    ask, network = _asker()
    for known in (["10.1.0.3"], ["10.1.0.3"]):
        assert _addresses(ask(_wire("web"))) == known
    other = ask.world.join(network, "other", ipv4="10.1.0.4", aliases=("web",))
    assert _addresses(ask(_wire("web"))) == ["10.1.0.3", "10.1.0.4"]
    ask.world.leave(other)
    assert _addresses(ask(_wire("web"))) == ["10.1.0.3"]


def test_several_addresses_are_mixed_every_time() -> None:
    ask, network = _asker()
    for number in range(4, 9):
        ask.world.join(network, f"other-{number}", ipv4=f"10.1.0.{number}", aliases=("web",))
    assert len({ask(_wire("web")) for _ in range(100)}) > 1
    assert ask.remembered == 0


def test_memory_is_bounded() -> None:
    ask, network = _asker()
    for number in range(2000):
        ask.world.join(network, f"n{number}", ipv4="10.1.9.9")
    for number in range(2000):
        assert ask(_wire(f"n{number}")) is not None
    assert len(ask.memo.at(ask.world.directory.generation)) <= 512


def test_a_question_of_unusual_length_is_not_kept() -> None:
    ask, _ = _asker()
    long = _wire("web") + bytes(600)
    assert ask(long) == ask(long)
    assert ask.remembered == 0
