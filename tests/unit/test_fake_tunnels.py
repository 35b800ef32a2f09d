"""The fake of `Tunnels`: conformance, and its faults."""

import errno

import pytest

from tests.support.tunnels_conformance import VX, A, B, TunnelEnv, TunnelsConformance, held, make_bridges
from towline.kernel.fake import FakeLinks
from towline.kernel.fake_tunnels import FakeTunnels
from towline.model.desired import stable_mac


@pytest.fixture
def tenv() -> TunnelEnv:
    links = FakeLinks()
    make_bridges(links)
    return TunnelEnv(FakeTunnels(links), links)


class TestFakeTunnels(TunnelsConformance):
    pass


@pytest.mark.parametrize(("step", "left"), [("put_row", {A}), ("delete_row", {A, B})])
def test_a_refused_row_is_told(tenv: TunnelEnv, step: str, left: set[object]) -> None:
    fake = tenv.tunnels
    assert isinstance(fake, FakeTunnels)
    assert fake.create([VX]) == [None]
    assert fake.set_rows("vx-a", [A], []) is None
    fake.faults.fail(step, errno.ENOBUFS)
    error = fake.set_rows("vx-a", [B], [A])
    assert error is not None
    assert error.errno == errno.ENOBUFS
    assert held(fake) == ({B} if step == "put_row" else {A, B}) - (set() if step == "delete_row" else {B})


def test_a_refused_creation_leaves_nothing(tenv: TunnelEnv) -> None:
    fake = tenv.tunnels
    assert isinstance(fake, FakeTunnels)
    fake.faults.fail("create", errno.ENOMEM)
    (error,) = fake.create([VX])
    assert error is not None
    assert error.errno == errno.ENOMEM
    assert tenv.links.find("vx-a") is None


def test_macs_are_made_from_ids_of_both_kinds() -> None:
    hexadecimal = "0123456789abcdef" * 4
    assert stable_mac(hexadecimal) == "02:01:23:45:67:89"
    made = stable_mac("z5nsxvc6w0hkp7e1q8m2b4d9r")
    assert made == stable_mac("z5nsxvc6w0hkp7e1q8m2b4d9r")
    assert made != stable_mac("z5nsxvc6w0hkp7e1q8m2b4d9s")
    assert len(bytes.fromhex(made.replace(":", ""))) == 6
    assert made.startswith("02:")
