"""What `Links` and `Sandboxes` must do for interfaces that are made on a link of the host (macvlan). As
`sandboxes_conformance`, both rings run it."""

from __future__ import annotations

import errno

import pytest
from msgspec.structs import replace

from tests.support.sandboxes_conformance import Env, defaults, interface, link
from towline.model.desired import Defaults, Parent, Slave, parent_alias
from towline.model.errors import KernelError, NamespaceGone

DEAD_END = Parent("dm-a", "dummy", parent_alias("dm-a"))


def on(parent: str = "dm-a", number: int = 0, mode: str = "bridge", **fields: object):  # type: ignore[no-untyped-def]
    return interface(number, bridge="", slave=Slave(parent, "macvlan", mode), **fields)


class SlavesConformance:
    def test_a_parent_of_ours_is_made_once_and_set_up(self, env: Env) -> None:
        assert env.links.ensure_parent(DEAD_END) is None
        made = env.host_link("dm-a")
        assert (made.alias, made.up) == (DEAD_END.alias, True)
        assert env.links.silence(["dm-a"]) == [None]
        assert env.links.ensure_parent(DEAD_END) is None
        assert env.host_link("dm-a").index == made.index
        assert env.host_link("dm-a").up

    def test_a_parent_of_the_host_must_be_there_and_stays_as_it_is(self, env: Env) -> None:
        error = env.links.ensure_parent(Parent("up0"))
        assert error is not None
        assert error.errno == errno.ENODEV
        error = env.links.ensure_parent(Parent("up0.7", "vlan", parent_alias("up0.7"), "up0", 7))
        assert error is not None
        assert error.errno == errno.ENODEV
        env.bridges()
        env.links.silence(["br-a"])
        assert env.links.ensure_parent(Parent("br-a")) is None
        assert env.links.ensure_parent(replace(DEAD_END, name="br-a")) is None
        assert (env.host_link("br-a").up, env.host_link("br-a").alias) == (False, "towline:network:br-a")

    def test_join_and_remove(self, env: Env) -> None:
        env.links.ensure_parent(DEAD_END)
        path, before = env.made(), {each.name for each in env.links.dump()}
        env.sandboxes.join(path, on())
        made = link(env.sandboxes.look(path), "eth0")
        assert (made.kind, made.up, made.alias, made.mac) == (
            "macvlan",
            True,
            "towline:endpoint:0",
            "02:42:0a:01:00:00",
        )
        assert set(made.addresses) == {"10.1.0.7/24", "fd00:1::7/64"}
        assert {each.name for each in env.links.dump()} == before
        env.sandboxes.set_defaults(path, Defaults(ipv4=("eth0", "10.1.0.1")))
        assert defaults(env.sandboxes.look(path)) == {("0.0.0.0/0", "10.1.0.1", "eth0")}
        env.sandboxes.announce(path, on())
        assert env.sandboxes.remove(path, [on(), on()]) == [None, None]
        assert [each.name for each in env.sandboxes.look(path).links] == ["lo"]

    def test_two_on_one_parent(self, env: Env) -> None:
        env.links.ensure_parent(DEAD_END)
        path = env.made()
        env.sandboxes.join(path, on())
        with pytest.raises(KernelError, match="the sandbox has an interface eth0") as caught:
            env.sandboxes.join(path, on())
        assert caught.value.errno == errno.EEXIST
        env.sandboxes.join(path, on(number=1, addresses=("10.2.0.7/24",)))
        assert {each.name for each in env.sandboxes.look(path).links} == {"lo", "eth0", "eth1"}

    def test_without_its_parent_there_is_none(self, env: Env) -> None:
        path = env.made()
        with pytest.raises(KernelError, match="the host has no link dm-a") as caught:
            env.sandboxes.join(path, on())
        assert caught.value.errno == errno.ENODEV

    def test_it_goes_with_its_parent(self, env: Env) -> None:
        env.links.ensure_parent(DEAD_END)
        path = env.made()
        env.sandboxes.join(path, on())
        assert env.links.remove(["dm-a"]) == [None]
        assert [each.name for each in env.sandboxes.look(path).links] == ["lo"]
        assert env.sandboxes.remove(path, [on()]) == [None]

    def test_a_refused_join_leaves_nothing(self, env: Env) -> None:
        env.links.ensure_parent(DEAD_END)
        path = env.made()
        with pytest.raises(KernelError):
            env.sandboxes.join(path, on(sysctls=(("net/ipv4/conf/eth0/nosuch", "1"),)))
        assert [each.name for each in env.sandboxes.look(path).links] == ["lo"]

    def test_what_is_not_ours_stays(self, env: Env) -> None:
        env.links.ensure_parent(DEAD_END)
        env.bridges()
        path = env.made()
        env.sandboxes.join(path, interface(1))
        env.sandboxes.join(path, on())
        others = [on(number=1), replace(on(), alias="towline:endpoint:other"), on(number=2)]
        assert env.sandboxes.remove(path, others) == [None] * 3
        assert {each.name for each in env.sandboxes.look(path).links} == {"lo", "eth0", "eth1"}

    def test_a_namespace_that_is_gone(self, env: Env) -> None:
        with pytest.raises(NamespaceGone):
            env.sandboxes.remove(f"{env.directory}/ffffffffffff", [on()])
