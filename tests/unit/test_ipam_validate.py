"""Docker's IPAM validation texts, as recorded from a running daemon or read in moby's own tests."""

from __future__ import annotations

import pytest

from towline.ipam.validate import validate
from towline.model.errors import InvalidParameter
from towline.model.requests import PoolRequest

HEAD = "invalid network config:\n"


def request(subnet: str = "", ip_range: str = "", gateway: str = "", **aux: str) -> PoolRequest:
    return PoolRequest(subnet, ip_range, gateway, aux)


FAULTS = [
    (request("10.5.0.1/24"), "invalid subnet 10.5.0.1/24: it should be 10.5.0.0/24"),
    (request("fd00:1::1/64"), "invalid subnet fd00:1::1/64: it should be fd00:1::/64"),
    (request("10.5.0.0/24", "fd00::/64"), "invalid ip-range fd00::/64: parent subnet is an IPv4 block"),
    (
        request("10.5.0.0/24", "10.5.0.0/16"),
        "invalid ip-range 10.5.0.0/16: CIDR block is bigger than its parent subnet 10.5.0.0/24",
    ),
    (request("10.5.0.0/24", "10.5.0.5/28"), "invalid ip-range 10.5.0.5/28: it should be 10.5.0.0/28"),
    (
        request("10.5.0.0/24", "10.6.0.0/25"),
        "invalid ip-range 10.6.0.0/25: parent subnet 10.5.0.0/24 doesn't contain ip-range",
    ),
    (
        request("10.5.0.0/24", gateway="10.6.0.1"),
        "invalid gateway 10.6.0.1: parent subnet 10.5.0.0/24 doesn't contain this address",
    ),
    (request("10.5.0.0/24", gateway="fe80::1"), "invalid gateway fe80::1: parent subnet is an IPv4 block"),
    (request("fd00:1::/64", gateway="10.1.1.1"), "invalid gateway 10.1.1.1: parent subnet is an IPv6 block"),
    (
        request("10.5.0.0/24", a="10.6.0.1"),
        "invalid auxiliary address a: parent subnet 10.5.0.0/24 doesn't contain this address",
    ),
    (request("10.5.0.0/24", a="fd00::1"), "invalid auxiliary address a: parent subnet is an IPv4 block"),
    (
        request(gateway="10.5.0.1"),
        "invalid gateway 10.5.0.1: parent subnet invalid Prefix doesn't contain this address",
    ),
    (
        request(ip_range="10.5.0.0/25"),
        "invalid ip-range 10.5.0.0/25: parent subnet invalid Prefix doesn't contain ip-range",
    ),
]


@pytest.mark.parametrize(("wrong", "text"), FAULTS, ids=[text for _, text in FAULTS])
def test_one_fault_is_told_as_docker_does(wrong: PoolRequest, text: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        validate([wrong], ipv4=True, ipv6=True)
    assert str(refused.value) == HEAD + text


def test_several_faults_become_a_list() -> None:
    """moby daemon/network_test.go "Out of range prefix & addresses"."""
    wrong = request("10.0.0.0/8", "192.168.0.1/24", "192.168.0.1", DefaultGatewayIPv4="192.168.0.1")
    with pytest.raises(InvalidParameter) as refused:
        validate([wrong, request("10.5.0.1/24")], ipv4=True, ipv6=False)
    assert str(refused.value).splitlines() == [
        "invalid network config:",
        "* invalid ip-range 192.168.0.1/24: it should be 192.168.0.0/24",
        "* invalid ip-range 192.168.0.1/24: parent subnet 10.0.0.0/8 doesn't contain ip-range",
        "* invalid gateway 192.168.0.1: parent subnet 10.0.0.0/8 doesn't contain this address",
        "* invalid auxiliary address DefaultGatewayIPv4: parent subnet 10.0.0.0/8 doesn't contain this address",
        "* invalid subnet 10.5.0.1/24: it should be 10.5.0.0/24",
    ]


@pytest.mark.parametrize(
    "fine",
    [
        request(),
        request("10.5.0.0/24", "10.5.0.128/25", "10.5.0.1", a="10.5.0.2"),
        request("10.5.0.0/24", "10.5.0.0/24", "10.5.0.255"),
        request("0.0.0.0/0", "10.0.0.0/8"),
        request("10.5.0.0/32"),
    ],
)
def test_what_is_consistent_passes(fine: PoolRequest) -> None:
    validate([fine], ipv4=True, ipv6=False)


def test_entries_of_ipv6_are_skipped_when_it_is_off_but_those_of_ipv4_are_not() -> None:
    validate([request("fd00::1/64", gateway="10.1.1.1")], ipv4=True, ipv6=False)
    with pytest.raises(InvalidParameter):
        validate([request("10.5.0.1/24")], ipv4=False, ipv6=True)
