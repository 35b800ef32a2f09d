"""`-p` and `--expose` in all their forms, good and bad."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.model.errors import InvalidParameter
from towline.model.sandbox import PortBinding
from towline.policy.ports import MOST, parse_all, parse_exposed, parse_publish


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [PortBinding(80)]),
        ("0:80", [PortBinding(80)]),
        (":80", [PortBinding(80)]),
        ("8080:80", [PortBinding(80, host_port=8080)]),
        ("8080:80/udp", [PortBinding(80, "udp", host_port=8080)]),
        ("8080:80/SCTP", [PortBinding(80, "sctp", host_port=8080)]),
        ("8080:80/", [PortBinding(80, host_port=8080)]),
        ("8080-8085:80", [PortBinding(80, host_port=8080, host_port_end=8085)]),
        ("8080-8081:80-81", [PortBinding(80, host_port=8080), PortBinding(81, host_port=8081)]),
        ("80-81", [PortBinding(80), PortBinding(81)]),
        ("127.0.0.1:8080:80", [PortBinding(80, host_ip="127.0.0.1", host_port=8080)]),
        ("127.0.0.1::80", [PortBinding(80, host_ip="127.0.0.1")]),
        ("[::1]:8080:80/udp", [PortBinding(80, "udp", "::1", 8080)]),
        ("[2001:db8::0:1]::80", [PortBinding(80, host_ip="2001:db8::1")]),
        ("::1:8080:80", [PortBinding(80, host_ip="::1", host_port=8080)]),
        ("65535:65535", [PortBinding(65535, host_port=65535)]),
        ("published=8080,target=80,protocol=udp", [PortBinding(80, "udp", host_port=8080)]),
        ("target=80", [PortBinding(80)]),
        ("8080-8080:80", [PortBinding(80, host_port=8080)]),
    ],
)
def test_forms(text: str, expected: list[PortBinding]) -> None:
    assert list(parse_publish(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", 'invalid port specification: "": in "" it names no port of the sandbox; write'),
        ("8080:", 'invalid port specification: "": in "8080:" it names no port'),
        ("0", 'invalid port specification: "0": in "0" 0 is no port; the lowest is 1'),
        ("80:0-5", 'invalid port specification: "0-5": in "80:0-5" 0 is no port'),
        ("0-5:80", 'invalid port specification: "0-5": in "0-5:80" 0 is no port'),
        ("65536", 'invalid port specification: "65536": in "65536" a port of the sandbox is a number from 1 to 65535'),
        ("65536:80", 'invalid port specification: "65536": in "65536:80" a host port is a number from 0 to 65535'),
        ("-1:80", 'invalid port specification: "-1": in'),
        ("80-", 'invalid port specification: "80-": in'),
        ("8o:80", 'invalid port specification: "8o": in'),
        ("٨٠:80", 'invalid port specification: "٨٠": in'),
        (" 80", 'invalid port specification: " 80": in'),
        ("90-80:80", 'invalid port specification: "90-80": in "90-80:80" the range is reversed; write 80-90'),
        (
            "8080-8081:80-82",
            "invalid ranges specified for container and host Ports: 80-82 and 8080-8081: "
            'in "8080-8081:80-82" one has 3 ports, the other 2; make them equally long',
        ),
        ("8080:80-81", "invalid ranges specified for container and host Ports: 80-81 and 8080"),
        ("80/foo", 'invalid proto: foo: in "80/foo" it is none of tcp, udp, sctp'),
        ("1.2.3:80:80", 'invalid IP address: 1.2.3: in "1.2.3:80:80" it is no IPv4 or IPv6 address'),
        ("localhost:80:80", "invalid IP address: localhost"),
        ("[::1%eth0]:80:80", "invalid IP address: ::1%eth0: "),
        ("[::ffff:10.0.0.1]:80:80", "invalid IP address: ::ffff:10.0.0.1: "),
        ("target=80,tcp", "invalid publish opts format (should be name=value but got 'tcp')"),
        ("target=80,mode=host", "invalid publish opts format: in"),
        ("1-65535", f"a range of more than {MOST} ports cannot be published"),
    ],
)
def test_refusals_name_the_text_and_the_remedy(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter, match=re.escape(message)):
        parse_publish(text)


def test_many_at_once() -> None:
    assert parse_all(["80", "81/udp", "80/tcp"]) == (PortBinding(80), PortBinding(81, "udp"))
    with pytest.raises(InvalidParameter, match=f"more than {MOST} ports"):
        parse_all(["1-10000", "20000"])


@pytest.mark.parametrize(
    ("text", "expected"), [("80", ("80/tcp",)), ("80/UDP", ("80/udp",)), ("80-82", ("80/tcp", "81/tcp", "82/tcp"))]
)
def test_exposed(text: str, expected: tuple[str, ...]) -> None:
    assert parse_exposed(text) == expected


@pytest.mark.parametrize("text", ["", "0", "65536", "82-80", "80/x", "8080:80"])
def test_bad_exposed(text: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_exposed(text)


@given(st.text(alphabet="0123456789:.-/[]tcpud=,f ", max_size=30))
def test_any_text_is_bindings_or_a_refusal(text: str) -> None:
    try:
        bindings = parse_publish(text)
    except InvalidParameter:
        return
    assert bindings
    for binding in bindings:
        assert 1 <= binding.port <= 65535
        assert 0 <= binding.host_port <= 65535
        assert binding.host_port_end == 0 or binding.host_port < binding.host_port_end <= 65535
