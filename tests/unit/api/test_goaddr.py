"""Addresses as Go reads them; texts from Go's net/netip and net sources."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.api.goaddr import BadAddress, parse_addr, parse_mac, parse_prefix


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x", "unable to parse IP"),
        ("%eth0", "missing IPv6 address"),
        ("1.2.3", "IPv4 address too short"),
        ("1.2.3.4.5", "IPv4 address too long"),
        ("1.2.3.256", "IPv4 field has value >255"),
        ("1.2.3.04", "IPv4 field has octet with leading zero"),
        ("1..2.3", 'IPv4 field must have at least one digit (at ".2.3")'),
        ("1.2.3.", 'IPv4 field must have at least one digit (at ".")'),
        ("1.2.3.4a", 'unexpected character (at "a")'),
        ("fe80::1%", "zone must be a non-empty string"),
        ("1:2:3:4:5:6:7", "address string too short"),
        ("1::2::3", 'multiple :: in address (at ":3")'),
        ("12345::", 'each group must have 4 or less digits (at "12345::")'),
        ("1:2:3:4:5:6:7:8:9", 'trailing garbage after address (at "9")'),
        ("1:2:3:4:5:6:7:", 'colon must be followed by more characters (at ":")'),
        ("1:g::", 'each colon-separated field must have at least one digit (at "g::")'),
        ("1:2g::", 'unexpected character, want colon (at "g::")'),
        ("::1:2:3:4:5:6:7:8", "the :: must expand to at least one field of zeros"),
        ("1:2:3:4:5:6:7:1.2.3.4", "embedded IPv4 address must replace the final 2 fields of the address"),
        ("::1.2.3", "IPv4 address too short"),
    ],
)
def test_refused_addresses(text: str, reason: str) -> None:
    with pytest.raises(BadAddress) as refusal:
        parse_addr(text)
    assert str(refusal.value).startswith(f'ParseAddr("{text}"): {reason}')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("foo", "no '/'"),
        ("10.5.0.0/33", "prefix length out of range"),
        ("10.5.0.0/", 'bad bits after slash: ""'),
        ("10.5.0.0/08", 'bad bits after slash: "08"'),
        ("10.5.0.0/-1", 'bad bits after slash: "-1"'),
        ("fe80::%1/64", "IPv6 zones cannot be present in a prefix"),
        ("x/8", 'ParseAddr("x"): unable to parse IP'),
    ],
)
def test_refused_prefixes(text: str, reason: str) -> None:
    with pytest.raises(BadAddress) as refusal:
        parse_prefix(text)
    assert str(refusal.value) == f'netip.ParsePrefix("{text}"): {reason}'


@given(st.text("0123456789abcdefx:.%/ ", max_size=24))
def test_any_text_is_canonical_or_refused_with_a_reason(text: str) -> None:
    try:
        outcome = parse_addr(text)
    except BadAddress as refusal:
        outcome = str(refusal).removeprefix(f'ParseAddr("{text}"): ')
        canonical = outcome
    else:
        canonical = parse_addr(outcome)
    assert outcome == canonical
    assert bool(outcome) == bool(text)


@given(st.ip_addresses(), st.integers(0, 32))
def test_valid_prefixes_keep_their_host_bits(address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int) -> None:
    parsed = ipaddress.ip_interface(parse_prefix(f"{address}/{bits}"))
    assert (parsed.ip, parsed.network.prefixlen) == (address, bits)


def test_canonical_forms() -> None:
    assert parse_addr("FD00:0::01") == "fd00::1"
    assert parse_addr("::ffff:10.0.0.1") == "::ffff:10.0.0.1"
    assert parse_prefix("10.5.0.1/24") == "10.5.0.1/24"
    assert (parse_addr(""), parse_prefix(""), parse_mac("")) == ("", "", "")


@pytest.mark.parametrize("text", ["02:42:AC:11:00:02", "02-42-ac-11-00-02", "0242.ac11.0002"])
def test_macs(text: str) -> None:
    assert parse_mac(text) == "02:42:ac:11:00:02"


@pytest.mark.parametrize("text", ["zz", "02:42:ac:11:00", "02:42-ac:11:00:02", "02:42:ac:11:00:2", "0242ac110002"])
def test_refused_macs(text: str) -> None:
    with pytest.raises(BadAddress, match=f"address {text}: invalid MAC address"):
        parse_mac(text)
