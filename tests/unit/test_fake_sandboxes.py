"""The fakes of namespaces and flows: conformance with the contracts, and the faults they can be given."""

from __future__ import annotations

import errno

import pytest

from tests.support.links_conformance import bridge
from tests.support.sandboxes_conformance import (
    Env,
    FlowsConformance,
    FlowsEnv,
    SandboxesConformance,
    interface,
)
from tests.support.slaves_conformance import SlavesConformance
from towline.kernel.contract import Link
from towline.kernel.fake import FakeLinks
from towline.kernel.fake_sandboxes import FakeFlow, FakeFlows, FakeRoute, FakeSandboxes
from towline.model.desired import Defaults, Route
from towline.model.errors import KernelError, NamespaceGone

PATH = "/run/netns/0123456789ab"


@pytest.fixture
def fake() -> FakeSandboxes:
    return FakeSandboxes(FakeLinks())


class TestFakeSandboxes(SandboxesConformance, SlavesConformance):
    @pytest.fixture
    def env(self, fake: FakeSandboxes) -> Env:
        def foreign() -> str:
            made = fake.add_foreign("/proc/7/ns/net")
            addresses = ("192.168.7.3/24", "fd07::3/64")
            made.links["eth9"] = Link(9, "eth9", "veth", "", True, 1500, "02:00:00:00:00:09", 0, addresses)
            made.routes.append(FakeRoute("0.0.0.0/0", "192.168.7.1", "eth9"))
            made.routes.append(FakeRoute("::/0", "fd07::1", "eth9", 1024))
            return "/proc/7/ns/net"

        fake.files.add("/etc/passwd")
        return Env(
            fake,
            fake.links,
            "/run/netns",
            foreign,
            host="",
            file="/etc/passwd",
            sysctl=lambda path, key: fake.namespaces[path].sysctls[key],
        )


class TestFakeFlows(FlowsConformance):
    @pytest.fixture
    def env(self) -> FlowsEnv:
        fake = FakeFlows()

        def add(protocol: str, client: str, to: str, port: int, answers: str) -> None:
            fake.flows.append(FakeFlow((client, to), (answers, client), protocol, port))

        return FlowsEnv(fake, add, lambda: {flow.original for flow in fake.flows})


@pytest.mark.parametrize(
    ("step", "operation"),
    [
        ("join", f"make veth0000000 with eth0 in {PATH}"),
        ("mark", "set alias and hairpin of veth0000000"),
        ("sysctl", "write sysctl net/ipv4/conf/eth0/forwarding"),
        ("configure", "set alias of eth0"),
        ("set_up", "set eth0 up"),
        ("add_address", "add address 10.1.0.7/24 to eth0"),
        ("add_route", "add route 10.9.0.0/16 via 10.1.0.1 on eth0"),
    ],
)
def test_a_fault_in_a_join_leaves_nothing(fake: FakeSandboxes, step: str, operation: str) -> None:
    fake.links.create_bridges([bridge("br-a")])
    fake.make(PATH)
    wanted = interface(sysctls=(("net/ipv4/conf/eth0/forwarding", "1"),), routes=(Route("10.9.0.0/16", "10.1.0.1"),))
    before = (fake.links.dump(), fake.look(PATH))
    fake.faults.fail(step, errno.ENOMEM, name="veth0000000")
    with pytest.raises(KernelError) as caught:
        fake.join(PATH, wanted)
    assert (caught.value.errno, caught.value.operation) == (errno.ENOMEM, operation)
    assert (fake.links.dump(), fake.look(PATH)) == before
    fake.join(PATH, wanted)


def test_other_steps_fail_by_name(fake: FakeSandboxes) -> None:
    fake.links.create_bridges([bridge("br-a")])
    for step in ("make", "drop", "set_defaults", "look"):
        fake.faults.fail(step, errno.EIO, name=PATH)
    with pytest.raises(KernelError):
        fake.make(PATH)
    fake.make(PATH)
    for call in (fake.drop, fake.look, lambda path: fake.set_defaults(path, Defaults())):
        with pytest.raises(KernelError):
            call(PATH)
    fake.join(PATH, interface())
    fake.faults.fail("leave", errno.EBUSY, name="veth0000000")
    fake.faults.fail("announce", errno.ENOBUFS, name="eth0")
    (error,) = fake.leave(PATH, ["veth0000000"])
    assert error is not None
    assert error.errno == errno.EBUSY
    with pytest.raises(KernelError):
        fake.announce(PATH, interface())
    assert len(fake.look(PATH).links) == 2
    assert fake.leave(PATH, ["veth0000000"]) == [None]


def test_a_namespace_that_ends_takes_its_pairs_along(fake: FakeSandboxes) -> None:
    fake.links.create_bridges([bridge("br-a")])
    fake.add_foreign("/proc/7/ns/net")
    fake.join("/proc/7/ns/net", interface())
    fake.end("/proc/7/ns/net")
    assert fake.links.find("veth0000000") is None
    with pytest.raises(NamespaceGone):
        fake.look("/proc/7/ns/net")


def test_a_pair_ends_with_its_host_end(fake: FakeSandboxes) -> None:
    fake.links.create_bridges([bridge("br-a")])
    fake.make(PATH)
    fake.join(PATH, interface(routes=(Route("10.9.0.0/16", "10.1.0.1"),)))
    assert fake.links.remove(["veth0000000"]) == [None]
    assert [link.name for link in fake.look(PATH).links] == ["lo"]
    assert fake.look(PATH).routes == ()


def test_forgetting_may_fail() -> None:
    fake = FakeFlows()
    fake.flows.append(FakeFlow(("192.0.2.1", "10.1.0.7"), ("10.1.0.7", "192.0.2.1")))
    fake.faults.fail("forget", errno.ENOMEM)
    with pytest.raises(KernelError):
        fake.forget(["10.1.0.7"])
    assert len(fake.flows) == 1
