"""--network in all its forms, and the flags for the first network."""

from __future__ import annotations

import pytest

from towline.cli.catalog import find
from towline.cli.endpoints import endpoint, networks
from towline.cli.errors import UsageError
from towline.cli.flags import Parsed, parse


def read(command: str, *words: str) -> Parsed:
    found, parsed = find(command), Parsed()
    assert found is not None
    parse(words, found.flags, command, parsed)
    return parsed


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ([], []),
        (["--network", "web"], [{"network": "web"}]),
        (["--network", "a b/ü"], [{"network": "a b/ü"}]),
        (["--network=web", "--network=back"], [{"network": "web"}, {"network": "back"}]),
        (
            ["--network", "name=web,ip=10.0.0.2,ip6=fd00::2,mac-address=02:00:00:00:00:01,gw-priority=-3"],
            [{"network": "web", "ipv4": "10.0.0.2", "ipv6": "fd00::2", "mac": "02:00:00:00:00:01", "gw_priority": -3}],
        ),
        (
            ["--network", "web,alias=a,alias=b,link=db:d,link-local-ip=169.254.1.1,driver-opt=k=v=w,driver-opt=l="],
            [
                {
                    "network": "web",
                    "aliases": ["a", "b"],
                    "links": ["db:d"],
                    "link_local": ["169.254.1.1"],
                    "driver_opts": {"k": "v=w", "l": ""},
                }
            ],
        ),
        (["--network", "ip=10.0.0.2,name=web"], [{"network": "web", "ipv4": "10.0.0.2"}]),
        (
            ["--network", "web,alias=a", "--network", "back", "--network-alias", "b", "--ip", "10.0.0.9"],
            [{"network": "web", "aliases": ["a", "b"], "ipv4": "10.0.0.9"}, {"network": "back"}],
        ),
        (["--mac-address", "02:00:00:00:00:01"], [{"network": "bridge", "mac": "02:00:00:00:00:01"}]),
    ],
)
def test_what_is_asked_of_endpoints(words: list[str], want: list[dict[str, object]]) -> None:
    assert networks(read("run", *words)) == want


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--network", "web", "--network", "web,ip=10.0.0.2"], 'network "web" is given twice'),
        (["--network", "web,ip=10.0.0.2", "--ip", "10.0.0.3"], "--ip: ip is given twice, 10.0.0.2 and 10.0.0.3"),
        (["--network", "web,colour=red"], '--network web,colour=red: "colour=red" is not understood'),
        (["--network", "web,back"], '--network web,back: "back" is not understood'),
        (["--network", "ip=10.0.0.2"], "--network ip=10.0.0.2: it names no network"),
        (["--network", ""], "--network : it names no network"),
        (["--network", "web,driver-opt=k"], 'driver option "k": want KEY=VALUE'),
        (["--network", "web,gw-priority=1.5"], 'gateway priority "1.5" is not a whole number'),
    ],
)
def test_what_cannot_be_read_is_named(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        networks(read("run", *words))
    assert caught.value.message == message


def test_connect_says_it_in_dockers_words() -> None:
    flags = "--ip 10.0.0.2 --ip6 fd00::2 --link-local-ip 169.254.1.1 --alias a --alias b --link db:d --gw-priority 7"
    more = "--driver-opt com.docker.network.endpoint.ifname=foo0 --mac-address 02:00:00:00:00:01"
    assert endpoint(read("network connect", *f"{flags} {more}".split())) == {
        "IPAMConfig": {"IPv4Address": "10.0.0.2", "IPv6Address": "fd00::2", "LinkLocalIPs": ["169.254.1.1"]},
        "Links": ["db:d"],
        "Aliases": ["a", "b"],
        "DriverOpts": {"com.docker.network.endpoint.ifname": "foo0"},
        "GwPriority": 7,
        "MacAddress": "02:00:00:00:00:01",
    }
