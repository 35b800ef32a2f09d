"""The fake passes the same suite as the kernel, and fails where a test orders it."""

from __future__ import annotations

import errno

import pytest

from tests.support.nft_conformance import CASES, FOREIGN, ID, TABLE, members, name, named, refused
from towline.kernel.contract import AddElements, AddTable, DeleteElements
from towline.kernel.fake_nft import FakeNft
from towline.model.errors import KernelError


@pytest.fixture
def nft() -> FakeNft:
    fake = FakeNft()
    fake.add_foreign(FOREIGN, "FORWARD", rules=2)
    return fake


@pytest.mark.parametrize("case", CASES)
def test_conformance(case: str, nft: FakeNft) -> None:
    CASES[case](nft)


def test_a_named_fault_hits_one_step_and_undoes_the_commit(nft: FakeNft) -> None:
    nft.commit([AddTable(TABLE), AddElements((named(1), named(2)))])
    nft.faults.fail("add_elements", errno.ENOBUFS, nth=2, name="inet towline-test names")
    changes = (DeleteElements((named(1),)), AddElements((named(1), named(2), named(3), named(4))))
    refused(nft, errno.ENOBUFS, "add elements to set inet towline-test names", *changes)
    nft.commit(changes)
    assert set(members(nft, "names")) == {name(1), name(2), name(3), name(4)}


def test_a_fault_of_the_whole_commit(nft: FakeNft) -> None:
    nft.faults.fail("commit", errno.ENOMEM)
    with pytest.raises(KernelError, match="commit nftables transaction"):
        nft.commit([AddTable(TABLE)])
    assert nft.read(ID) is None
    assert nft.commits == 0


def test_the_operators_rules_stay(nft: FakeNft) -> None:
    nft.commit([AddTable(TABLE)])
    nft.tables[ID].rules["user"].append("mine")
    nft.commit([AddTable(TABLE)])
    state = nft.read(ID)
    assert state is not None
    assert state.chains["user"] == ("mine",)
