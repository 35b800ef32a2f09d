"""What every `Sandboxes` and `Flows` must do. The unit ring runs it against the fakes, the root one on the kernel."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from msgspec import structs

from tests.support.links_conformance import bridge
from towline.kernel.contract import Flows, Inside, Link, Links, Sandboxes
from towline.model.desired import Defaults, Interface, Route
from towline.model.errors import KernelError, NamespaceGone, NotANamespace


@dataclass(frozen=True)
class Env:
    """directory: for pins. foreign(): path of somebody else's namespace that has a link eth9 with 192.168.7.3/24,
    fd07::3/64 and default routes via 192.168.7.1 and fd07::1. host: the path of the host's own namespace, "" for a
    fake. file: a path where something else is. sysctl(path, key): a setting inside."""

    sandboxes: Sandboxes
    links: Links
    directory: str
    foreign: Callable[[], str]
    host: str
    file: str
    sysctl: Callable[[str, str], str]

    def made(self, name: str = "0123456789ab") -> str:
        path = f"{self.directory}/{name}"
        self.sandboxes.make(path)
        return path

    def bridges(self) -> None:
        """br-a's MTU is not the kernel's default, so that it does not follow that of its ports."""
        made = [
            bridge("br-a", "10.1.0.1/24", "fd00:1::1/64", mtu=9000, off=False),
            bridge("br-b", "10.2.0.1/24"),
        ]
        assert self.links.create_bridges(made) == [None, None]

    def host_link(self, name: str) -> Link:
        link = self.links.find(name)
        assert link is not None
        return link


A4, A6 = "10.1.0.7/24", "fd00:1::7/64"


def interface(number: int = 0, *addresses: str, **fields: object) -> Interface:
    """eth<number> on br-a with A4 and A6 unless said otherwise."""
    values: dict[str, object] = {
        "host_name": f"veth000000{number}",
        "alias": f"towline:endpoint:{number}",
        "bridge": "br-a",
        "name": f"eth{number}",
        "mac": f"02:42:0a:01:00:0{number}",
        "addresses": addresses or (A4, A6),
    }
    return Interface(**{**values, **fields})  # type: ignore[arg-type]


def second(number: int = 1) -> Interface:
    return interface(number, "10.2.0.7/24", bridge="br-b", ipv6_off=True)


def link(inside: Inside, name: str) -> Link:
    (found,) = (each for each in inside.links if each.name == name)
    return found


def defaults(inside: Inside) -> set[tuple[str, str, str]]:
    return {route for route in inside.routes if route[0] in ("0.0.0.0/0", "::/0")}


class SandboxesConformance:
    def test_a_new_namespace_has_lo_and_nothing_else(self, env: Env) -> None:
        path = env.made()
        inside = env.sandboxes.look(path)
        (lo,) = inside.links
        assert (lo.name, lo.up, set(lo.addresses)) == ("lo", True, {"127.0.0.1/8", "::1/128"})
        assert inside.routes == ()
        assert env.sandboxes.pinned(env.directory) == [path]

    def test_a_pin_is_not_made_twice(self, env: Env) -> None:
        path = env.made()
        env.bridges()
        env.sandboxes.join(path, interface())
        with pytest.raises(KernelError) as caught:
            env.sandboxes.make(path)
        assert (caught.value.errno, caught.value.operation) == (errno.EEXIST, f"pin network namespace {path}")
        assert link(env.sandboxes.look(path), "eth0").up

    def test_what_is_not_ours_is_neither_overmounted_nor_removed(self, env: Env) -> None:
        with pytest.raises(KernelError) as caught:
            env.sandboxes.make(env.file)
        assert caught.value.errno == errno.EEXIST
        with pytest.raises(NotANamespace):
            env.sandboxes.drop(env.file)

    def test_drop_and_make_again(self, env: Env) -> None:
        path = env.made()
        other = env.made("ba9876543210")
        env.sandboxes.drop(path)
        with pytest.raises(NamespaceGone, match=path):
            env.sandboxes.look(path)
        assert env.sandboxes.pinned(env.directory) == [other]
        env.sandboxes.drop(path)
        assert env.made() == path

    def test_no_pins_in_no_directory(self, env: Env) -> None:
        assert env.sandboxes.pinned(f"{env.directory}/nosuch") == []

    def test_resize_changes_both_ends_and_nothing_else(self, env: Env) -> None:
        env.bridges()
        path = env.made()
        wanted = interface(0, A4, A6, mtu=1400)
        env.sandboxes.join(path, wanted)
        host, inside = env.host_link(wanted.host_name), env.sandboxes.look(path)
        smaller = structs.replace(wanted, mtu=1300)
        env.sandboxes.resize(path, smaller)
        assert env.host_link(wanted.host_name) == structs.replace(host, mtu=1300)
        assert link(env.sandboxes.look(path), "eth0") == structs.replace(link(inside, "eth0"), mtu=1300)
        assert env.sandboxes.look(path).routes == inside.routes
        for absent in (structs.replace(smaller, name="eth9"), structs.replace(smaller, host_name="nosuch")):
            with pytest.raises(KernelError) as caught:
                env.sandboxes.resize(path, absent)
            assert caught.value.errno == errno.ENODEV

    def test_join_makes_all_of_both_ends(self, env: Env) -> None:
        env.bridges()
        path = env.made()
        routes = (Route("10.9.0.0/16", "10.1.0.1"), Route("10.8.0.0/24"), Route("fd09::/32", "fd00:1::1"))
        wanted = interface(0, A4, A6, "169.254.7.7/16", mtu=1400, routes=routes, mac="02:42:0A:01:00:07")
        env.sandboxes.join(path, wanted)
        host, inside = env.host_link(wanted.host_name), env.sandboxes.look(path)
        assert (host.kind, host.alias, host.up, host.mtu) == ("veth", wanted.alias, True, 1400)
        assert (host.master, host.addresses) == (env.host_link("br-a").index, ())
        eth0 = link(inside, "eth0")
        assert (eth0.kind, eth0.alias, eth0.up, eth0.mtu) == ("veth", wanted.alias, True, 1400)
        assert (eth0.mac, set(eth0.addresses)) == ("02:42:0a:01:00:07", {A4, A6, "169.254.7.7/16"})
        assert set(inside.routes) == {
            ("10.1.0.0/24", "", "eth0"),
            ("169.254.0.0/16", "", "eth0"),
            ("fd00:1::/64", "", "eth0"),
            ("10.9.0.0/16", "10.1.0.1", "eth0"),
            ("10.8.0.0/24", "", "eth0"),
            ("fd09::/32", "fd00:1::1", "eth0"),
        }

    def test_an_interface_without_addresses(self, env: Env) -> None:
        env.bridges()
        path = env.made()
        env.sandboxes.join(path, interface(addresses=()))
        assert link(env.sandboxes.look(path), "eth0").addresses == ()

    def test_an_interface_without_ipv6(self, env: Env) -> None:
        env.bridges()
        path = env.made()
        env.sandboxes.join(path, second(0))
        assert env.sysctl(path, "net/ipv6/conf/eth0/disable_ipv6") == "1"
        env.sandboxes.join(path, interface(1))
        assert env.sysctl(path, "net/ipv6/conf/eth1/disable_ipv6") == "0"

    @pytest.mark.parametrize("mtu", [68, 1000, 9000, 65535])
    def test_an_unusual_mtu(self, env: Env, mtu: int) -> None:
        env.bridges()
        path = env.made()
        env.sandboxes.join(path, interface(0, A4, mtu=mtu))
        assert link(env.sandboxes.look(path), "eth0").mtu == mtu

    def test_settings_are_made_inside(self, env: Env) -> None:
        env.bridges()
        path = env.made()
        env.sandboxes.join(path, interface(sysctls=(("net/ipv4/conf/eth0/forwarding", "1"),)))
        assert env.sysctl(path, "net/ipv4/conf/eth0/forwarding") == "1"

    def test_several_interfaces_in_somebody_elses_namespace(self, env: Env) -> None:
        env.bridges()
        path = env.foreign()
        before = env.sandboxes.look(path)
        env.sandboxes.join(path, interface(0))
        env.sandboxes.join(path, second(1))
        inside = env.sandboxes.look(path)
        assert {each.name for each in inside.links} - {each.name for each in before.links} == {"eth0", "eth1"}
        assert link(inside, "eth9") == link(before, "eth9")
        assert defaults(inside) == defaults(before)
        assert env.sandboxes.leave(path, ["veth0000000", "veth0000001"]) == [None, None]
        assert env.sandboxes.look(path) == before

    @pytest.mark.parametrize(
        ("fields", "code", "operation"),
        [
            ({"bridge": "nosuch"}, errno.ENODEV, "plug veth0000000 into bridge nosuch"),
            ({"name": "lo"}, errno.EEXIST, "make veth0000000 with lo in {path}"),
            ({"host_name": "br-b"}, errno.EEXIST, "make br-b with eth0 in {path}"),
            ({"name": "x" * 16}, errno.ERANGE, "make veth0000000 with xxxxxxxxxxxxxxxx in {path}"),
            ({"name": "a/b"}, errno.EINVAL, "make veth0000000 with a/b in {path}"),
            ({"name": "eth%d"}, errno.EINVAL, "make veth0000000 with eth%d in {path}"),
            ({"host_name": "x" * 16}, errno.ERANGE, "make xxxxxxxxxxxxxxxx with eth0 in {path}"),
            ({"mtu": 1000}, errno.EINVAL, f"add address {A6} to eth0"),
            ({"ipv6_off": True}, errno.EACCES, f"add address {A6} to eth0"),
            ({"sysctls": (("net/ipv4/conf/eth0/nope", "1"),)}, errno.ENOENT, "write sysctl net/ipv4/conf/eth0/nope"),
            ({"sysctls": (("kernel/hostname", "x"),)}, errno.EPERM, "write sysctl kernel/hostname"),
            (
                {"routes": (Route("10.9.0.0/16", "10.3.0.1"),)},
                errno.ENETUNREACH,
                "add route 10.9.0.0/16 via 10.3.0.1 on eth0",
            ),
            (
                {"routes": (Route("fd09::/32", "fd03::1"),)},
                errno.EHOSTUNREACH,
                "add route fd09::/32 via fd03::1 on eth0",
            ),
            (
                {"routes": (Route("10.9.0.0/16", "10.1.0.1"), Route("10.9.0.0/16", "10.1.0.2"))},
                errno.EEXIST,
                "add route 10.9.0.0/16 via 10.1.0.2 on eth0",
            ),
        ],
    )
    def test_a_refused_join_is_named_and_leaves_nothing(
        self, env: Env, fields: dict[str, object], code: int, operation: str
    ) -> None:
        env.bridges()
        path = env.made()
        before = (env.links.dump(), env.sandboxes.look(path))
        with pytest.raises(KernelError) as caught:
            env.sandboxes.join(path, interface(**fields))
        assert (caught.value.errno, caught.value.operation) == (code, operation.format(path=path))
        assert (env.links.dump(), env.sandboxes.look(path)) == before
        env.sandboxes.join(path, interface())

    @pytest.mark.parametrize(
        ("fields", "detail"),
        [
            ({"name": "eth0"}, "the sandbox has an interface eth0"),
            ({"host_name": "veth0000000"}, "the host has a link"),
        ],
    )
    def test_a_taken_name_says_where(self, env: Env, fields: dict[str, object], detail: str) -> None:
        env.bridges()
        path = env.made()
        env.sandboxes.join(path, interface(0))
        before = (env.links.dump(), env.sandboxes.look(path))
        with pytest.raises(KernelError, match=detail) as caught:
            env.sandboxes.join(path, interface(1, "10.1.0.8/24", **fields))
        assert caught.value.errno == errno.EEXIST
        assert (env.links.dump(), env.sandboxes.look(path)) == before

    def test_names_are_free_when_leave_returns(self, env: Env) -> None:
        env.bridges()
        path = env.made()
        for _ in range(3):
            env.sandboxes.join(path, interface(0))
            env.sandboxes.join(path, second(1))
            assert env.sandboxes.leave(path, ["veth0000000"]) == [None]
            assert env.links.find("veth0000000") is None
            assert {each.name for each in env.sandboxes.look(path).links} == {"lo", "eth1"}
            env.sandboxes.join(path, interface(0))
            names = ["veth0000000", "nosuch", "veth0000001", "veth0000000", "", "x" * 40]
            assert env.sandboxes.leave(path, names) == [None] * 6
            assert {each.name for each in env.sandboxes.look(path).links} == {"lo"}
        assert env.sandboxes.leave(path, []) == []

    def test_leave_needs_no_namespace(self, env: Env) -> None:
        assert env.sandboxes.leave(f"{env.directory}/nosuch", ["veth0000000"]) == [None]

    def test_default_routes_come_move_and_go(self, env: Env) -> None:
        env.bridges()
        path = env.made()
        env.sandboxes.join(path, interface(0))
        env.sandboxes.join(path, second(1))
        first4, first6 = ("0.0.0.0/0", "10.1.0.1", "eth0"), ("::/0", "fd00:1::1", "eth0")
        second4 = ("0.0.0.0/0", "10.2.0.1", "eth1")
        for wanted, found in (
            (Defaults(("eth0", "10.1.0.1"), ("eth0", "fd00:1::1")), {first4, first6}),
            (Defaults(("eth0", "10.1.0.1"), ("eth0", "fd00:1:0::1")), {first4, first6}),
            (Defaults(("eth1", "10.2.0.1"), ("eth0", "fe80::1")), {second4, ("::/0", "fe80::1", "eth0")}),
            (Defaults(("eth1", ""), ("eth0", "")), {("0.0.0.0/0", "", "eth1"), ("::/0", "", "eth0")}),
            (Defaults(("eth0", "10.1.0.254"), None), {("0.0.0.0/0", "10.1.0.254", "eth0")}),
            (Defaults(None, ("eth0", "fd00:1::1")), {first6}),
            (Defaults(), set()),
            (Defaults(), set()),
        ):  # fmt: skip
            env.sandboxes.set_defaults(path, wanted)
            assert defaults(env.sandboxes.look(path)) == found

    def test_default_routes_go_with_their_interface(self, env: Env) -> None:
        env.bridges()
        path = env.made()
        env.sandboxes.join(path, interface(0))
        env.sandboxes.set_defaults(path, Defaults(("eth0", "10.1.0.1"), ("eth0", "fd00:1::1")))
        assert env.sandboxes.leave(path, ["veth0000000"]) == [None]
        assert defaults(env.sandboxes.look(path)) == set()

    def test_default_routes_of_others_stay(self, env: Env) -> None:
        env.bridges()
        path = env.foreign()
        before = defaults(env.sandboxes.look(path))
        assert before == {("0.0.0.0/0", "192.168.7.1", "eth9"), ("::/0", "fd07::1", "eth9")}
        env.sandboxes.join(path, interface(0))
        ours = {("0.0.0.0/0", "10.1.0.1", "eth0"), ("::/0", "fd00:1::1", "eth0")}
        for _ in range(2):
            env.sandboxes.set_defaults(path, Defaults(("eth0", "10.1.0.1"), ("eth0", "fd00:1::1")))
            assert defaults(env.sandboxes.look(path)) == before | ours
        env.sandboxes.set_defaults(path, Defaults())
        assert defaults(env.sandboxes.look(path)) == before

    @pytest.mark.parametrize(
        ("wanted", "code", "operation"),
        [
            (Defaults(("nosuch", "10.1.0.1")), errno.ENODEV, "set default route on nosuch"),
            (Defaults(("eth9", "192.168.7.2")), errno.ENODEV, "set default route on eth9"),
            (Defaults(("eth0", "10.3.0.1")), errno.ENETUNREACH, "set default route via 10.3.0.1 on eth0"),
            (Defaults(None, ("eth0", "fd03::1")), errno.EHOSTUNREACH, "set default route via fd03::1 on eth0"),
        ],
    )
    def test_an_impossible_default_route_is_named(self, env: Env, wanted: Defaults, code: int, operation: str) -> None:
        env.bridges()
        path = env.foreign()
        env.sandboxes.join(path, interface(0))
        before = env.sandboxes.look(path)
        with pytest.raises(KernelError) as caught:
            env.sandboxes.set_defaults(path, wanted)
        assert (caught.value.errno, caught.value.operation) == (code, operation)
        assert env.sandboxes.look(path) == before

    def test_announce_needs_the_interface(self, env: Env) -> None:
        env.bridges()
        path = env.made()
        with pytest.raises(KernelError) as caught:
            env.sandboxes.announce(path, interface(0))
        assert (caught.value.errno, caught.value.operation) == (errno.ENODEV, "announce addresses of eth0")
        env.sandboxes.join(path, interface(0))
        env.sandboxes.announce(path, interface(0))

    @pytest.mark.parametrize("verb", ["join", "set_defaults", "look", "announce"])
    def test_a_path_that_is_no_namespace_is_refused(self, env: Env, verb: str) -> None:
        arguments = {"join": (interface(),), "set_defaults": (Defaults(),), "look": (), "announce": (interface(),)}
        env.bridges()
        before = env.links.dump()
        call = getattr(env.sandboxes, verb)
        with pytest.raises(NamespaceGone, match="nosuch"):
            call(f"{env.directory}/nosuch", *arguments[verb])
        for path in filter(None, (env.file, env.host)):
            with pytest.raises(NotANamespace, match="network namespace"):
                call(path, *arguments[verb])
        assert env.links.dump() == before


@dataclass(frozen=True)
class FlowsEnv:
    """add(protocol, client, to, port, answers): a flow from a client to an address and port, that `answers` answers.
    left(): (client, to) of all flows."""

    flows: Flows
    add: Callable[[str, str, str, int, str], None]
    left: Callable[[], set[tuple[str, str]]]


class FlowsConformance:
    def test_nothing_to_forget(self, env: FlowsEnv) -> None:
        assert env.flows.forget(["10.1.0.7"]) == 0
        assert env.flows.forget([]) == 0

    def test_only_flows_with_the_address_at_an_end_go(self, env: FlowsEnv) -> None:
        env.add("udp", "192.0.2.1", "192.0.2.9", 53, "10.1.0.7")  # translated to it
        env.add("tcp", "192.0.2.2", "10.1.0.7", 80, "10.1.0.7")  # direct
        env.add("udp", "10.1.0.7", "192.0.2.3", 53, "192.0.2.3")  # from it
        env.add("udp", "192.0.2.4", "192.0.2.9", 53, "10.1.0.70")
        env.add("udp", "fd00::1", "fd00::9", 53, "fd00:1::7")
        assert env.flows.forget(["10.1.0.7"]) == 3
        assert env.left() == {("192.0.2.4", "192.0.2.9"), ("fd00::1", "fd00::9")}
        assert env.flows.forget(["fd00:1:0::7", "10.1.0.7"]) == 1
        assert env.left() == {("192.0.2.4", "192.0.2.9")}

    def test_protocol_and_port_narrow_it(self, env: FlowsEnv) -> None:
        for client, protocol, port in (("192.0.2.1", "udp", 53), ("192.0.2.2", "udp", 54), ("192.0.2.3", "tcp", 53)):
            env.add(protocol, client, "192.0.2.9", port, "10.1.0.7")
        assert env.flows.forget(["10.1.0.7"], protocol="sctp") == 0
        assert env.flows.forget(["10.1.0.7"], protocol="udp", port=53) == 1
        assert env.left() == {("192.0.2.2", "192.0.2.9"), ("192.0.2.3", "192.0.2.9")}
        assert env.flows.forget(["192.0.2.9"], port=53) == 1
        assert env.flows.forget(["192.0.2.9"], protocol="udp") == 1
        assert env.left() == set()

    def test_many_addresses_at_once(self, env: FlowsEnv) -> None:
        for i in range(1, 20):
            env.add("udp", f"192.0.2.{i}", "203.0.113.1", 53, f"10.1.0.{i}")
        assert env.flows.forget([f"10.1.0.{i}" for i in range(2, 40)]) == 18
        assert env.left() == {("192.0.2.1", "203.0.113.1")}

    def test_flows_from_before_a_port_was_published(self, env: FlowsEnv) -> None:
        for client, to, port in (
            ("192.0.2.1", "192.0.2.9", 53),
            ("192.0.2.2", "192.0.2.8", 53),
            ("192.0.2.3", "192.0.2.9", 54),
            ("fd00::1", "fd00::9", 53),
        ):
            env.add("udp", client, to, port, to)
        env.add("tcp", "192.0.2.4", "192.0.2.9", 53, "192.0.2.9")
        env.add("udp", "192.0.2.5", "192.0.2.9", 53, "10.1.0.7")
        assert env.flows.forget_untranslated("udp", []) == 0
        assert env.flows.forget_untranslated("udp", [("192.0.2.9", 53)]) == 1
        assert env.flows.forget_untranslated("udp", [("0.0.0.0", 53), ("::", 54)]) == 1
        assert env.left() == {
            ("192.0.2.3", "192.0.2.9"),
            ("fd00::1", "fd00::9"),
            ("192.0.2.4", "192.0.2.9"),
            ("192.0.2.5", "192.0.2.9"),
        }
        assert env.flows.forget_untranslated("udp", [("::", 53), ("192.0.2.9", 54)]) == 2

    def test_what_is_no_address_or_protocol_is_refused(self, env: FlowsEnv) -> None:
        with pytest.raises(ValueError, match="10.1"):
            env.flows.forget(["10.1"])
        with pytest.raises(ValueError, match="udp"):
            env.flows.forget(["10.1.0.1"], protocol="dccp")
