"""The fakes: conformance with the kernel's contracts, and the faults they can be given."""

import errno
import select

import pytest

from tests.support.links_conformance import Env, LinksConformance, bridge, codes
from towline.kernel.contract import Drift
from towline.kernel.fake import FakeLinks, FakeMonitor, FakeSysctl
from towline.model.errors import KernelError


@pytest.fixture
def fake() -> FakeLinks:
    return FakeLinks()


class TestFakeLinks(LinksConformance):
    @pytest.fixture
    def env(self, fake: FakeLinks) -> Env:
        def add_foreign(name: str, kind: str, cidr: str) -> None:
            fake.add_foreign(name, kind, (cidr,) if cidr else ())

        return Env(fake, fake.sysctl, add_foreign)


def test_a_fault_hits_the_nth_step_once(fake: FakeLinks) -> None:
    fake.faults.fail("create_bridges", errno.ENOBUFS, nth=2)
    assert codes(fake.create_bridges([bridge("a"), bridge("b"), bridge("c")])) == [0, errno.ENOBUFS, 0]
    assert set(fake.links) == {"a", "c"}
    assert codes(fake.create_bridges([bridge("b")])) == [0]


def test_a_fault_may_wait_for_a_name(fake: FakeLinks) -> None:
    fake.faults.fail("remove", errno.EBUSY, name="b")
    fake.create_bridges([bridge("a"), bridge("b")])
    assert codes(fake.remove(["a", "b"])) == [0, errno.EBUSY]
    assert set(fake.links) == {"b"}
    assert codes(fake.remove(["b"])) == [0]


@pytest.mark.parametrize(
    ("step", "operation"),
    [
        ("configure", "create bridge a"),
        ("set_mtu", "set mtu 1400 on a"),
        ("add_address", "add address 10.1.0.1/24 to a"),
    ],
)
def test_a_fault_in_the_middle_leaves_a_part(fake: FakeLinks, step: str, operation: str) -> None:
    fake.faults.fail(step, errno.ENOMEM)
    (error,) = fake.create_bridges([bridge("a", "10.1.0.1/24", mtu=1400)])
    assert error is not None
    assert (error.errno, error.operation) == (errno.ENOMEM, operation)
    assert "a" in fake.links


def test_a_refused_setting_fails_the_bridge(fake: FakeLinks) -> None:
    fake.sysctl.faults.fail("write", errno.EROFS)
    (error,) = fake.create_bridges([bridge("a")])
    assert error is not None
    assert (error.errno, error.operation) == (errno.EROFS, "write sysctl net/ipv6/conf/a/disable_ipv6")


def test_settings_have_the_errors_of_the_real_ones() -> None:
    sysctl = FakeSysctl({"kernel/hostname": "x"})
    sysctl.write("kernel/hostname", "y")
    assert (sysctl.read("kernel/hostname"), sysctl.read("nosuch")) == ("y", None)
    for path, value, code in (
        ("nosuch", "1", errno.ENOENT),
        ("net/ipv4/ip_forward", "x", errno.EINVAL),
        ("../etc/passwd", "1", errno.EINVAL),
    ):
        with pytest.raises(KernelError) as caught:
            sysctl.write(path, value)
        assert caught.value.errno == code


def test_the_monitor_wakes_its_reader_until_it_has_read() -> None:
    monitor = FakeMonitor()
    assert monitor.read() == []
    monitor.push(Drift("rules"), Drift("links", "a"), Drift("rules"))
    assert select.select(monitor.filenos(), [], [], 0)[0]
    assert monitor.read() == [Drift("rules"), Drift("links", "a")]
    assert not select.select(monitor.filenos(), [], [], 0)[0]
    assert monitor.read() == []
    monitor.close()
