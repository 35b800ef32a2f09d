"""Which host ports bindings get, over fake sockets."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from tests.support.fake_ports import FakeSockets
from towline.control.ports import Families, Ports
from towline.model.endpoint import Published
from towline.model.errors import Failure
from towline.model.sandbox import PortBinding

BOTH, ONLY4 = Families(True, True), Families(True, False)


def ensure(ports: Ports, sandbox: str, bindings: Sequence[PortBinding], families: Families) -> tuple[Published, ...]:
    return ports.extend(sandbox, bindings, families).published


def numbers(published: tuple[Published, ...]) -> list[tuple[str, int]]:
    return [(p.host_ip, p.host_port) for p in published]


def test_one_port_on_all_addresses_of_both_families() -> None:
    sockets = FakeSockets()
    got = ensure(Ports(sockets), "s", [PortBinding(80, host_port=8080)], BOTH)
    assert got == (Published("tcp", "0.0.0.0", 8080, 80), Published("tcp", "::", 8080, 80))
    assert sockets.held == {("tcp", "0.0.0.0", 8080), ("tcp", "::", 8080)}


def test_a_family_without_gateway_is_not_published() -> None:
    assert numbers(ensure(Ports(FakeSockets()), "s", [PortBinding(80, host_port=8080)], ONLY4)) == [("0.0.0.0", 8080)]
    assert ensure(Ports(FakeSockets()), "s", [PortBinding(80, host_ip="::1", host_port=8080)], ONLY4) == ()


def test_ephemeral_ports_go_on_from_the_last_and_skip_reserved_ones() -> None:
    ports = Ports(FakeSockets(reserved=frozenset({32769})))
    got = ensure(ports, "s", [PortBinding(80), PortBinding(81), PortBinding(81, "udp")], ONLY4)
    assert [p.host_port for p in got] == [32768, 32770, 32771]
    ports.release("s")
    assert numbers(ensure(ports, "t", [PortBinding(80)], ONLY4)) == [("0.0.0.0", 32772)]


def test_an_ephemeral_port_is_free_in_both_families() -> None:
    sockets = FakeSockets()
    sockets.held.add(("tcp", "::", 32768))
    assert numbers(ensure(Ports(sockets), "s", [PortBinding(80)], BOTH)) == [("0.0.0.0", 32769), ("::", 32769)]
    assert ("tcp", "0.0.0.0", 32768) not in sockets.held


def test_a_range_gives_its_first_free_port() -> None:
    ports = Ports(FakeSockets({("tcp", 8000)}))
    wanted = PortBinding(80, host_port=8000, host_port_end=8002)
    assert numbers(ensure(ports, "a", [wanted], ONLY4)) == [("0.0.0.0", 8001)]
    assert numbers(ensure(ports, "b", [wanted], ONLY4)) == [("0.0.0.0", 8002)]
    with pytest.raises(Failure, match="^all ports are allocated"):
        ensure(ports, "c", [wanted], ONLY4)


def test_conflicts_name_what_is_in_the_way() -> None:
    ports = Ports(FakeSockets({("tcp", 22)}))
    ensure(ports, "a", [PortBinding(80, host_port=8080)], ONLY4)
    with pytest.raises(Failure) as caught:
        ensure(ports, "b", [PortBinding(80, host_port=8080)], ONLY4)
    assert str(caught.value) == "Bind for 0.0.0.0:8080 failed: port is already allocated"
    with pytest.raises(Failure) as caught:
        ensure(ports, "b", [PortBinding(80, host_port=22)], ONLY4)
    text = "failed to bind host port 0.0.0.0:22/tcp: address already in use (held by process 7 (httpd))"
    assert str(caught.value) == text


def test_what_cannot_be_had_whole_is_given_back() -> None:
    sockets = FakeSockets({("tcp", 22)})
    ports = Ports(sockets)
    with pytest.raises(Failure):
        ensure(ports, "a", [PortBinding(80, host_port=8080), PortBinding(81, host_port=22)], BOTH)
    assert sockets.held == set()


def test_asking_again_keeps_and_extends() -> None:
    ports = Ports(FakeSockets())
    first = ensure(ports, "a", [PortBinding(80)], ONLY4)
    assert ensure(ports, "a", [PortBinding(80)], ONLY4) == first
    assert numbers(ensure(ports, "a", [PortBinding(80)], BOTH)) == [("0.0.0.0", 32768), ("::", 32768)]


def test_default_host_address() -> None:
    ports = Ports(FakeSockets(), default_ip="127.0.0.1")
    assert numbers(ensure(ports, "a", [PortBinding(80, host_port=1)], BOTH)) == [("127.0.0.1", 1)]


def test_restore_holds_again_and_reports_what_was_taken() -> None:
    sockets = FakeSockets({("tcp", 9000)})
    ports = Ports(sockets)
    bindings = [PortBinding(80), PortBinding(81, host_port=9000)]
    published = [Published("tcp", "0.0.0.0", 32770, 80), Published("tcp", "0.0.0.0", 9000, 81)]
    assert [e.errno for e in ports.restore("a", bindings, published)] == [errno.EADDRINUSE]
    assert ensure(ports, "a", bindings, ONLY4) == tuple(published)
    ports.release("a")
    assert sockets.held == set()


@pytest.mark.parametrize("fault", [OverflowError("a bug"), KeyboardInterrupt()])
def test_what_was_added_is_given_back_whatever_happens(fault: BaseException) -> None:
    sockets = FakeSockets()
    ports = Ports(sockets)
    ensure(ports, "a", [PortBinding(79, host_port=7979)], BOTH)
    before = set(sockets.held)
    hold = sockets.hold

    def broken(protocol: str, host_ip: str, port: int) -> None:
        if (host_ip, port) == ("::", 8181):
            raise fault
        hold(protocol, host_ip, port)

    sockets.hold = broken  # type: ignore[method-assign]
    with pytest.raises(type(fault)):
        ensure(ports, "a", [PortBinding(80, host_port=8080), PortBinding(81, host_port=8181)], BOTH)
    assert sockets.held == before


def test_only_what_is_new_is_given_back() -> None:
    sockets = FakeSockets()
    ports = Ports(sockets)
    old, new = PortBinding(80, host_port=8080), PortBinding(81, host_port=8181)
    assert ports.extend("a", [old], ONLY4).added == ((old, Published("tcp", "0.0.0.0", 8080, 80)),)
    granted = ports.extend("a", [old, new], BOTH)
    assert numbers(granted.published) == [("0.0.0.0", 8080), ("::", 8080), ("0.0.0.0", 8181), ("::", 8181)]
    assert [(b.port, p.host_ip) for b, p in granted.added] == [(80, "::"), (81, "0.0.0.0"), (81, "::")]
    ports.give_back("a", granted.added)
    assert sockets.held == {("tcp", "0.0.0.0", 8080)}
    ports.release("a")
    ports.give_back("a", granted.added)
    assert sockets.held == set()


def test_restore_finds_each_its_binding() -> None:
    ports = Ports(FakeSockets())
    bindings = [PortBinding(80, host_port=1, host_ip="10.0.0.1"), PortBinding(80, host_port=2), PortBinding(80)]
    families = [Families(True, True)] * 2
    got = ensure(ports, "a", bindings, families[0])
    again = Ports(FakeSockets())
    assert again.restore("a", bindings, got) == []
    assert again.extend("a", bindings, families[1]) == (got, ())


class Comparisons(str):
    """A protocol's name that counts how often it is compared."""

    count = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Comparisons.count += 1
        return str.__eq__(self, other)


def test_the_work_grows_with_the_bindings_and_not_faster() -> None:
    """Comparisons of bindings are counted: no clock."""

    def comparisons(count: int) -> int:
        bindings = [PortBinding(80, Comparisons("tcp"), host_port=port) for port in range(1, count + 1)]
        Comparisons.count = 0
        got = ensure(Ports(FakeSockets()), "a", bindings, BOTH)
        Ports(FakeSockets()).restore("a", bindings, got)
        return Comparisons.count

    assert comparisons(400) <= 3 * comparisons(200)
