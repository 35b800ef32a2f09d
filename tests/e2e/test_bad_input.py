"""Bad input, by name: what the client is told, and that nothing was changed by it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.daemon import Answer, Daemon, fresh_daemon
from tests.support.equality import link_of, networks
from tests.support.snapshot import nothing_changes

BRIDGE, DRIVER = "com.docker.network.bridge.", "com.docker.network.driver."
CONFIG = "invalid network config:\n"
IN_GO = "invalid JSON: json: cannot unmarshal"


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    """Four pools of 256 addresses; networks `web` and `mail` exist."""
    with fresh_daemon("--default-address-pool", "base=10.0.0.0/22,size=24") as daemon:
        daemon.start()
        assert create(daemon, {"Name": "web", **subnet("10.63.0.0/24")}).status == 201
        assert create(daemon, {"Name": "mail", "Options": {BRIDGE + "name": "mine"}}).status == 201
        yield daemon


@pytest.fixture
def daemon(shared: Daemon) -> Iterator[Daemon]:
    """Around the test nothing changes."""
    with nothing_changes(shared):
        yield shared


def create(daemon: Daemon, body: object, **headers: str) -> Answer:
    return daemon.http("POST", "/networks/create", body, headers={k.replace("_", "-"): v for k, v in headers.items()})


def subnet(text: str, **more: object) -> dict[str, Any]:
    return {"IPAM": {"Config": [{"Subnet": text, **more}]}}


def options(**named: str) -> dict[str, Any]:
    return {"Options": {(DRIVER if key == "mtu" else BRIDGE) + key: value for key, value in named.items()}}


def refused(answer: Answer, status: int, message: str) -> None:
    """message: a regular expression for all of it."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(message, answer.json["message"], re.DOTALL), answer.json["message"]


FIELDS = {
    "number as name": ({"Name": 5}, rf"{IN_GO} number into Go struct field CreateRequest\.Name of type string"),
    "text as bool": ({"Internal": "yes"}, rf"{IN_GO} string into Go struct field CreateRequest\.Internal of type bool"),
    "list as IPAM": ({"IPAM": []}, rf"{IN_GO} array into Go struct field CreateRequest\.IPAM of type .*"),
    "number as label": ({"Labels": {"a": 1}}, rf"{IN_GO} number into Go struct field CreateRequest\.Labels.* string"),
    "number as subnet": (subnet(7), rf"{IN_GO} number into Go struct field CreateRequest\.IPAM\.Config.*Subnet.*"),  # type: ignore[arg-type]
    "no subnet": (subnet("foo"), r"invalid JSON: netip\.ParsePrefix\(\"foo\"\): no '/'"),
    "long prefix": (subnet("10.5.0.0/33"), r".*\"10\.5\.0\.0/33\".*prefix length out of range"),
    "no address": (subnet("10.5.0.0/24", Gateway="x"), r"invalid JSON: ParseAddr\(\"x\"\): unable to parse IP"),
}


@pytest.mark.parametrize(("fields", "message"), FIELDS.values(), ids=FIELDS)
def test_wrong_types(daemon: Daemon, fields: dict[str, Any], message: str) -> None:
    refused(create(daemon, {"Name": "new", **fields}), 400, message)


BODIES = {
    "text/plain": ("text/plain", b"{}", r"unsupported Content-Type header \(text/plain\): must be 'application/json'"),
    "no type": ("", b'{"Name":"new"}', r"malformed Content-Type header \(\): mime: no media type"),
    "empty": ("application/json", b"", r"invalid name: name is empty"),
    "blank": ("application/json", b" \n", r"invalid JSON: got EOF while reading request body"),
    "cut JSON": ("application/json", b'{"Name":"new"', r"invalid JSON: unexpected EOF"),
    "two objects": ("application/json", b'{"Name":"new"}{}', r"unexpected content after JSON"),
    "a list": ("application/json", b"[1]", rf"{IN_GO} array into Go value of type .*"),
    "not UTF-8": (
        "application/json",
        b"\xff\xfe",
        r"invalid JSON: invalid character .* looking for beginning of value",
    ),
    "10 MB": (
        "application/json",
        b'{"Name":"' + b"x" * 10_000_000 + b'"}',
        r"invalid JSON: request body too large: the limit is 8388608 bytes",
    ),
    "deep, open": ("application/json", b'{"Labels":' + b"[" * 100_000, r"invalid JSON: .*exceeded max depth"),
    "deep, closed": ("application/json", b'{"Q":' + b"[" * 20_000 + b"]" * 20_000 + b"}", r".*exceeded max depth"),
    "deep objects": ("application/json", b'{"Q":' * 20_000 + b"1" + b"}" * 20_000, r".*exceeded max depth"),
}


@pytest.mark.parametrize(("content_type", "body", "message"), BODIES.values(), ids=BODIES)
def test_bodies(daemon: Daemon, content_type: str, body: bytes, message: str) -> None:
    refused(create(daemon, body, Content_Type=content_type), 400, message)


def test_body_shorter_than_announced(daemon: Daemon) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(daemon.socket)
        head = (
            "POST /networks/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        )
        client.sendall(head.encode() + b'{"Name":"new"}')
        client.shutdown(socket.SHUT_WR)
        assert not client.recv(1000).startswith(b"HTTP/1.1 20")


REQUESTS = {
    "blank name": ({"Name": " \t"}, 400, "invalid name: name is empty"),
    "taken name": ({"Name": "web"}, 409, "network with name web already exists"),
    "reserved name": ({"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network "),
    "host bits": (subnet("10.5.0.1/24"), 400, f"{CONFIG}invalid subnet 10.5.0.1/24: it should be 10.5.0.0/24"),
    "overlap": (
        subnet("10.63.0.0/25"),
        403,
        "invalid pool request: Pool overlaps with other one on this address space.*",
    ),
    "gateway outside": (
        subnet("10.5.0.0/24", Gateway="10.6.0.1"),
        400,
        f"{CONFIG}invalid gateway 10.6.0.1: parent subnet 10.5.0.0/24 doesn't contain this address",
    ),
    "gateway is the network": (
        subnet("10.5.0.0/24", Gateway="10.5.0.0"),
        500,
        r"failed to allocate gateway \(10.5.0.0\): Address already in use",
    ),
    "range outside": (
        subnet("10.5.0.0/24", IPRange="10.6.0.0/25"),
        400,
        f"{CONFIG}invalid ip-range 10.6.0.0/25: parent subnet 10.5.0.0/24 doesn't contain ip-range",
    ),
    "range too big": (
        subnet("10.5.0.0/24", IPRange="10.5.0.0/16"),
        400,
        f"{CONFIG}invalid ip-range 10.5.0.0/16: CIDR block is bigger than its parent subnet 10.5.0.0/24",
    ),
    "range with host bits": (
        subnet("10.5.0.0/24", IPRange="10.5.0.5/28"),
        400,
        f"{CONFIG}invalid ip-range 10.5.0.5/28: it should be 10.5.0.0/28",
    ),
    "auxiliary outside": (
        subnet("10.5.0.0/24", AuxiliaryAddresses={"a": "10.6.0.1"}),
        400,
        f"{CONFIG}invalid auxiliary address a: parent subnet 10.5.0.0/24 doesn't contain this address",
    ),
    "auxiliary is the gateway": (
        subnet("10.5.0.0/24", AuxiliaryAddresses={"a": "10.5.0.1"}),
        500,
        r"failed to allocate secondary ip address \(a:10.5.0.1\): Address already in use",
    ),
    "several at once": (
        subnet("10.5.0.1/24", Gateway="10.6.0.1"),
        400,
        rf"{CONFIG}.*invalid subnet 10.5.0.1/24.*invalid gateway 10.6.0.1.*",
    ),
    "two subnets": (
        {"IPAM": {"Config": [{"Subnet": "10.5.0.0/24"}, {"Subnet": "10.6.0.0/24"}]}},
        403,
        "bridge driver doesn't support multiple subnets",
    ),
    "IPv6 multicast": (
        {"EnableIPv6": True, **subnet("ff00::/64")},
        400,
        "multicast subnet 'ff00::1/64' is not allowed",
    ),
    "no family": ({"EnableIPv4": False}, 400, "IPv4 or IPv6 must be enabled"),
    "MTU no number": (options(mtu="abc"), 400, rf"failed to parse {DRIVER}mtu value: abc \(strconv\.Atoi.*\)"),
    "MTU negative": (options(mtu="-1"), 400, "invalid MTU number: -1"),
    "MTU too big": (options(mtu="70000"), 500, "invalid argument: MTU 70000 is above 65535, .*"),
    "MTU too small": (options(mtu="10"), 500, "invalid argument: MTU 10 is below 68, .*"),
    "MTU too small for IPv6": (
        {"EnableIPv6": True, **options(mtu="1000")},
        500,
        "invalid argument: MTU 1000 is below 1280, .*IPv6.*",
    ),
    "bool option": (
        options(enable_icc="x"),
        400,
        rf"failed to parse {BRIDGE}enable_icc value: x \(strconv\.ParseBool.*\)",
    ),
    "gateway mode": (
        options(gateway_mode_ipv4="foo"),
        400,
        rf"failed to parse {BRIDGE}gateway_mode_ipv4 value: foo \(unknown gateway mode foo\)",
    ),
    "isolated, not internal": (
        options(gateway_mode_ipv4="isolated"),
        500,
        "gateway mode 'isolated' can only be used for an internal network",
    ),
    "long link name": (options(name="a" * 16), 500, "numerical result out of range: bridge name 'a{16}' is longer .*"),
    "slash in link name": (options(name="a/b"), 500, "invalid argument: bridge name 'a/b' may not hold '/'.*"),
    "taken link name": (
        options(name="mine"),
        403,
        r"cannot create network .* \(mine\): conflicts with network .* \(mine\): networks have same bridge name",
    ),
    "unknown driver": ({"Driver": "nope"}, 404, 'plugin "nope" not found'),
    "unknown IPAM driver": ({"IPAM": {"Driver": "nope"}}, 404, 'plugin "nope" not found'),
    "second host": ({"Driver": "host"}, 403, 'only one instance of "host" network is allowed'),
    "overlay": ({"Driver": "overlay"}, 403, 'This node is not a swarm manager. Use "docker swarm init" or .*'),
    "unknown configuration": (
        {"ConfigFrom": {"Network": "nope"}},
        404,
        'configuration network "nope" does not exist',
    ),
}


@pytest.mark.parametrize(("fields", "status", "message"), REQUESTS.values(), ids=REQUESTS)
def test_requests(daemon: Daemon, fields: dict[str, Any], status: int, message: str) -> None:
    refused(create(daemon, {"Name": "new", **fields}), status, message)


PATHS = {
    "predefined": ("DELETE", "/networks/bridge", 403, "bridge is a pre-defined network and cannot be removed"),
    "unknown": ("DELETE", "/networks/nope", 404, "network nope not found"),
    "unknown, inspected": ("GET", "/networks/nope", 404, "network nope not found"),
    "no name": ("DELETE", "/networks/", 400, r"network  is ambiguous \(\d+ matches found based on ID prefix\)"),
    "wrong method": ("PUT", "/networks/create", 404, "page not found"),
    "filter no JSON": ("GET", "/networks?filters=x", 400, "invalid filter"),
    "unknown filter": ("GET", "/networks?filters=" + quote('{"nope":["x"]}'), 400, "invalid filter 'nope'"),
    "prune by an unknown filter": (
        "POST",
        "/networks/prune?filters=" + quote('{"x":["y"]}'),
        400,
        "invalid filter 'x'",
    ),
    "too new": ("GET", "/v1.99/networks", 400, "client version 1.99 is too new. Maximum supported API version is 1.*"),
    "bad wait": ("DELETE", "/networks/web?wait=maybe", 400, "invalid value for wait: maybe: .*"),
    "name of 100 kB": ("DELETE", "/networks/" + "n" * 100_000, 404, "network n{100000} not found"),
    "NUL": ("DELETE", "/networks/a%00b", 404, "network a\0b not found"),
}


@pytest.mark.parametrize(("method", "path", "status", "message"), PATHS.values(), ids=PATHS)
def test_paths(daemon: Daemon, method: str, path: str, status: int, message: str) -> None:
    refused(daemon.http(method, path), status, message)


def test_exhausted_pools_are_named_with_how_full_they_are(shared: Daemon) -> None:
    left = [create(shared, {"Name": f"p{number}"}) for number in range(2)]
    assert [answer.status for answer in left] == [201, 201]
    with nothing_changes(shared):
        message = "all predefined address pools have been fully subnetted: 10.0.0.0/22 in /24: 4 of 4 taken"
        refused(create(shared, {"Name": "new"}), 400, message)
    for number in range(2):
        assert shared.http("DELETE", f"/networks/p{number}?wait=1").status == 204


ODD = {
    "unknown field": {"Bogus": {"deep": [1, 2]}},
    "unknown option": {"Options": {"nope": "1"}},
    "IPv6 configuration without IPv6": subnet("fd00:9::/64"),
    "slashes": {"Name": "a/b/../c"},
    "NUL": {"Name": "a\0b"},
    "1 MB": {"Name": "n" * 1_000_000},
    "line breaks": {"Name": 'a\nb" level=error'},
    "no ASCII": {"Name": "网络-\U0001f433"},
}


@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
def test_what_docker_takes_is_taken_and_can_be_removed(shared: Daemon, fields: dict[str, Any]) -> None:
    daemon, before = shared, len(shared.log.splitlines())
    body = {"Name": "new", **fields}
    created = create(daemon, body)
    assert created.status == 201, created
    shown = networks(daemon)[body["Name"]]
    assert shown["Options"] == body.get("Options", {})
    assert all(":" not in config["Subnet"] for config in shown["IPAM"]["Config"])
    assert link_of(shown) in daemon.run("ip", "-br", "link")
    assert daemon.http("GET", "/networks/" + quote(body["Name"], safe="")).status in (200, 301, 404, 431)
    assert daemon.http("DELETE", f"/networks/{created.json['Id']}?wait=1").status == 204
    assert all("level=error" not in line[:60] for line in daemon.log.splitlines()[before:])


def test_a_link_that_is_no_bridge_is_named(shared: Daemon) -> None:
    with nothing_changes(shared, undone=True):
        refused(create(shared, {"Name": "new", **options(name="lo")}), 500, "existing interface lo is not a bridge")


def test_a_bridge_of_the_operators_own_is_left_alone(shared: Daemon) -> None:
    shared.run("ip", "link", "add", "theirs", "type", "bridge")
    with nothing_changes(shared, undone=True):
        answer = create(shared, {"Name": "new", **options(name="theirs")})
        refused(
            answer, 500, "bridge theirs exists on this host and belongs to no network here: delete it, or choose .*"
        )
    shared.run("ip", "link", "delete", "theirs")
