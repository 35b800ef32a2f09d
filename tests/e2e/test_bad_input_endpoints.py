"""Bad input about sandboxes, endpoints and ports, by name: what the client is told, and that nothing changes."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import dns.exception
import dns.message
import dns.query
import pytest

from tests.e2e.test_cli_network import towline
from tests.support import boxes
from tests.support.boxes import SANDBOXES, Box
from tests.support.daemon import Answer, Daemon, fresh_daemon
from tests.support.polling import eventually
from tests.support.snapshot import nothing_changes

ENDPOINT = "com.docker.network.endpoint."
MAC, LONG = "02:00:00:00:00:09", "x" * 16


@pytest.fixture(scope="module")
def shared() -> Iterator[Daemon]:
    """Networks web (static), auto, six; sandboxes: box on web, 10.50.0.9; idle (stopped) on web; on-host; on-none."""
    with fresh_daemon("--default-address-pool", "base=10.0.0.0/8,size=24") as daemon:
        daemon.start()
        boxes.make_network(daemon, "web", **boxes.pools("10.50.0.0/24", "fd00:50::/64"))
        boxes.make_network(daemon, "back", **boxes.pools("10.51.0.0/24"))
        boxes.make_network(daemon, "auto")
        boxes.make_network(daemon, "config", ConfigOnly=True)
        boxes.run(daemon, "box", {"network": "web", "ipv4": "10.50.0.9", "mac": MAC}, ports=["8080:80"])
        boxes.run(daemon, "idle", "web")
        boxes.stop(daemon, "idle")
        for name in ("host", "none"):
            boxes.run(daemon, f"on-{name}", name)
        yield daemon


@pytest.fixture
def daemon(shared: Daemon) -> Iterator[Daemon]:
    with nothing_changes(shared):
        yield shared


def refused(answer: Answer, status: int, message: str) -> None:
    """message: a regular expression for all of it."""
    assert answer.status == status, answer
    assert re.fullmatch(message, answer.json["message"], re.DOTALL), answer.json["message"]


def web(**asked: Any) -> dict[str, Any]:
    return {"networks": [{"network": "web", **asked}]}


SETTINGS = r"invalid config for network web: invalid endpoint settings:\n"
PORT = r'invalid port specification: ".*": in ".*" '
CREATES: dict[str, tuple[dict[str, Any], int, str]] = {
    "address taken": (web(ipv4="10.50.0.9"), 403, "Address already in use"),
    "the gateway's address": (web(ipv4="10.50.0.1"), 403, "Address already in use"),
    "address outside": (web(ipv4="10.99.0.1"), 400, SETTINGS + "no configured subnet contains IP address 10.99.0.1"),
    "IPv6 address outside": (web(ipv6="fd00:99::1"), 400, SETTINGS + "no configured subnet contains .*fd00:99::1"),
    "IPv6 as IPv4": (web(ipv4="fd00:50::7"), 400, SETTINGS + ".*invalid IPv4 address: fd00:50::7.*"),
    "IPv4 as IPv6": (web(ipv6="10.50.0.7"), 400, SETTINGS + ".*invalid IPv6 address: 10.50.0.7.*"),
    "no address": (web(ipv4="nope"), 400, r'network web: ParseAddr\("nope"\): unable to parse IP'),
    "on the default bridge": (
        {"networks": [{"network": "bridge", "ipv4": "172.17.0.9"}]},
        400,
        ".*user-specified IP address is supported on user-defined networks only.*",
    ),
    "malformed MAC": (web(mac="02:00"), 400, "network web: address 02:00: invalid MAC address"),
    "multicast MAC": (web(mac="01:00:5e:00:00:01"), 400, SETTINGS + "invalid MAC .*it is a multicast address.*"),
    "zero MAC": (web(mac="00:00:00:00:00:00"), 400, SETTINGS + "invalid MAC address: .*it is all zero.*"),
    "MAC taken": (web(mac=MAC), 409, f"MAC address {MAC} is in use in network web by box: choose another"),
    "link-local that is none": (
        web(link_local=["10.1.2.3"]),
        400,
        "invalid config for network web: invalid link local IP address: 10.1.2.3",
    ),
    "alias with a blank": (web(aliases=["a b"]), 400, SETTINGS + "invalid network-scoped alias 'a b': .*"),
    "empty alias": (web(aliases=[""]), 400, SETTINGS + "invalid network-scoped alias '': .*"),
    "alias with a line break": (web(aliases=["a\nb"]), 400, SETTINGS + "invalid network-scoped alias .*"),
    "alias of 300 bytes": (web(aliases=["a" * 300]), 400, SETTINGS + "invalid network-scoped alias .*"),
    "long interface name": (
        web(driver_opts={ENDPOINT + "ifname": LONG}),
        400,
        SETTINGS + rf"invalid interface name '{LONG}' \(.*\): it is longer than 15 bytes",
    ),
    "slash in interface name": (web(driver_opts={ENDPOINT + "ifname": "a/b"}), 400, SETTINGS + ".*may not hold '/'.*"),
    "interface lo": (web(driver_opts={ENDPOINT + "ifname": "lo"}), 400, SETTINGS + ".*the loopback .* has this name"),
    "endpoint sysctl outside": (
        web(driver_opts={ENDPOINT + "sysctls": "kernel.hostname=x"}),
        400,
        SETTINGS + "unrecognised network interface sysctl 'kernel.hostname=x'.*",
    ),
    "sysctl outside net": ({"sysctls": {"kernel.hostname": "x"}}, 400, "sysctl 'kernel.hostname' is not allowed.*"),
    "sysctl that climbs": ({"sysctls": {"net/../kernel/x": "1"}}, 400, "sysctl .* is not allowed.*"),
    "sysctl that climbs by dots": ({"sysctls": {"net.//.x": "1"}}, 400, "sysctl .* is not allowed.*"),
    "hosts entry with a line break": ({"extra_hosts": ["a:1.2.3.4\n6.6.6.6 bank"]}, 400, ".*add-host.*"),
    "hosts name with a line break": ({"extra_hosts": ["a\n6.6.6.6 bank:1.2.3.4"]}, 400, "bad format for add-host.*"),
    "hosts entry without address": ({"extra_hosts": ["a"]}, 400, "bad format for add-host: 'a': write NAME:ADDRESS"),
    "DNS server no address": ({"dns": {"servers": ["x"]}}, 400, "IP address is not correctly formatted: 'x'.*"),
    "search domain with a line break": (
        {"dns": {"search": ["a\nnameserver 6.6.6.6"]}},
        400,
        ".*a valid domain.*",
    ),
    "DNS option with a line break": ({"dns": {"options": ["a\nb"]}}, 400, ".*DNS option.*"),
    "host name with a slash": ({"hostname": "../etc"}, 400, "invalid hostname format: '../etc'.*"),
    "name that climbs": ({"name": "../../etc/passwd"}, 400, r"Invalid container name \(../../etc/passwd\), only .*"),
    "name with a NUL": ({"name": "a\0b"}, 400, "Invalid container name .*"),
    "name of 10,000": ({"name": "n" * 10_000}, 400, "Invalid container name .*"),
    "name taken": ({"name": "box"}, 409, 'Conflict. The container name "/box" is already in use by container .*'),
    "unknown network": ({"networks": [{"network": "nope"}]}, 404, "network nope not found"),
    "network twice": (
        {"networks": [{"network": "web"}, {"network": "web"}]},
        400,
        "network web is named twice: name it once, with all its settings",
    ),
    "configuration only": (
        {"networks": [{"network": "config"}]},
        403,
        "cannot create endpoint on configuration-only network",
    ),
    "host and another": ({"networks": [{"network": "host"}, {"network": "web"}]}, 400, "container sharing .*"),
    "none and another": ({"networks": [{"network": "none"}, {"network": "web"}]}, 400, ".*private .none. mode"),
    "port on host": (
        {"networks": [{"network": "host"}], "ports": ["80:80"]},
        400,
        "conflicting.*port.*host.*",
    ),
    "port on none": (
        {"networks": [{"network": "none"}], "ports": ["80:80"]},
        400,
        "conflicting.*port.*none.*",
    ),
    "reversed range": ({"ports": ["90-80:80-90"]}, 400, PORT + "the range is reversed; write 80-90"),
    "ranges of different length": (
        {"ports": ["80-90:80-85"]},
        400,
        "invalid ranges specified for container and host Ports: .*6 ports, the other 11; make them equally long",
    ),
    "port 0": ({"ports": ["80:0"]}, 400, PORT + "0 is no port; the lowest is 1"),
    "port 65536": ({"ports": ["65536:80"]}, 400, PORT + "a host port is a number from 0 to 65535, .*"),
    "container port 65536": (
        {"ports": ["80:65536"]},
        400,
        PORT + "a port of the .* from 1 to 65535.*",
    ),
    "port no number": ({"ports": ["http"]}, 400, PORT + ".*"),
    "odd protocol": ({"ports": ["80:80/icmp"]}, 400, "invalid proto: icmp: .*none of tcp, udp, sctp"),
    "host address that is none": ({"ports": ["1.2.3:80:80"]}, 400, "invalid IP address: 1.2.3: .*"),
    "relative directory": ({"directory": "tmp"}, 400, "the working directory 'tmp' is invalid.*"),
    "odd variable": ({"environment": ["=x"]}, 400, "invalid environment variable: '=x'.*"),
    "odd restart policy": ({"restart": "sometimes"}, 400, "invalid restart policy: unknown policy 'sometimes'.*"),
    "restart and rm": ({"restart": "always", "auto_remove": True}, 400, "can't create 'AutoRemove' container with .*"),
    "path is a file": ({"attach": {"netns": "/etc/passwd"}}, 400, ".*/etc/passwd.*"),
    "path is another kind": ({"attach": {"netns": "/proc/self/ns/uts"}}, 400, ".*/proc/self/ns/uts.*"),
    "path is not there": ({"attach": {"netns": "/run/netns/nope"}}, 404, ".*/run/netns/nope.*"),
    "relative path": ({"attach": {"netns": "etc"}}, 400, "network namespace 'etc': it needs to be an absolute path"),
    "path with a NUL": ({"attach": {"netns": "/a\0b"}}, 400, ".*NUL.*"),
    "nothing to attach": ({"attach": {}}, 400, "attach: name a network namespace or a process"),
    "pid that is gone": ({"attach": {"process": {"pid": 2**31 - 1, "started": 1}}}, 404, ".*2147483647.*"),
    "pid 0": (
        {"attach": {"process": {"pid": 0, "started": 1}}},
        400,
        "process 0: this is no process id.*",
    ),
    "unknown field": ({"bogus": 1}, 400, ".*bogus.*"),
    "text for a list": ({"ports": "80:80"}, 400, ".*ports.*"),
}


@pytest.mark.parametrize(("fields", "status", "message"), CREATES.values(), ids=CREATES)
def test_creates(daemon: Daemon, fields: dict[str, Any], status: int, message: str) -> None:
    body = {"name": "new", "command": ["sleep", "600"], "networks": [{"network": "web"}], **fields}
    refused(daemon.http("POST", SANDBOXES, body), status, message)


def test_the_daemons_own_namespace_is_refused(daemon: Daemon) -> None:
    answer = boxes.create(daemon, "new", "web", attach={"netns": f"/proc/{daemon.pid}/ns/net"})
    refused(answer, 400, ".*is the host's own network namespace: a sandbox needs one of its own")


def test_a_pid_that_is_reused_is_noticed(daemon: Daemon) -> None:
    """The same number with another start time is another process."""
    with subprocess.Popen(["unshare", "--net", "sleep", "600"]) as process:
        try:
            body = {"process": {"pid": process.pid, "started": 1}}
            answer = boxes.create(daemon, "new", "web", attach=body)
            refused(answer, 404, f".*{process.pid}.*")
        finally:
            process.kill()


CONNECTS: dict[str, tuple[str, dict[str, Any], int, str]] = {
    "twice": ("web", {"Container": "box"}, 403, "endpoint with name box already exists in network web"),
    "unknown sandbox": ("back", {"Container": "nope"}, 404, "No such container: nope"),
    "no sandbox": ("back", {}, 400, ".*"),
    "unknown network": ("nope", {"Container": "box"}, 404, "network nope not found"),
    "automatic subnet, outside": (
        "auto",
        {"Container": "box", "EndpointConfig": {"IPAMConfig": {"IPv4Address": "10.99.99.99"}}},
        400,
        "invalid endpoint settings:\nno configured subnet contains IP address 10.99.99.99",
    ),
    "to host": ("host", {"Container": "box"}, 400, "cannot connect container to host network - .*"),
    "from host": ("web", {"Container": "on-host"}, 400, "container sharing network namespace with another .*"),
    "to none": ("none", {"Container": "box"}, 400, "container cannot be connected to multiple networks with one .*"),
    "from none": ("web", {"Container": "on-none"}, 400, "container cannot be connected to multiple networks .*"),
    "interface name taken": (
        "back",
        {"Container": "box", "EndpointConfig": {"DriverOpts": {ENDPOINT + "ifname": "eth0"}}},
        409,
        f"interface name eth0 is taken in box: choose another {ENDPOINT}ifname",
    ),
    "malformed MAC": ("back", {"Container": "box", "EndpointConfig": {"MacAddress": "xx"}}, 400, ".*xx.*MAC.*"),
}


@pytest.mark.parametrize(("network", "body", "status", "message"), CONNECTS.values(), ids=CONNECTS)
def test_connects(daemon: Daemon, network: str, body: dict[str, Any], status: int, message: str) -> None:
    refused(daemon.http("POST", f"/networks/{network}/connect", body), status, message)


DISCONNECTS = {
    "not connected": ("back", "box", 500, "container .* is not connected to network back"),
    "stopped, not connected": ("back", "idle", 500, "container .* is not connected to the network back"),
    "unknown sandbox": ("web", "nope", 404, "No such container: nope"),
    "unknown network": ("nope", "box", 404, "network nope not found"),
    "from host": ("host", "on-host", 400, "cannot disconnect container from host network - .*"),
}


@pytest.mark.parametrize(("network", "name", "status", "message"), DISCONNECTS.values(), ids=DISCONNECTS)
def test_disconnects(daemon: Daemon, network: str, name: str, status: int, message: str) -> None:
    refused(daemon.http("POST", f"/networks/{network}/disconnect", {"Container": name}), status, message)


PATHS = {
    "start what runs": ("POST", "box/start", 409, "container box is already running"),
    "start the unknown": ("POST", "nope/start", 404, "No such container: nope"),
    "remove what runs": ("DELETE", "box", 409, 'cannot remove container "box": container is running: .*'),
    "remove the unknown": ("DELETE", "nope", 404, "No such container: nope"),
    "stop with odd patience": ("POST", "box/stop?t=-1", 400, "invalid value for t: -1: whole seconds, .*"),
    "network in use": ("DELETE", "../../../networks/web", 403, ".*has active endpoints.*"),
}


@pytest.mark.parametrize(("method", "path", "status", "message"), PATHS.values(), ids=PATHS)
def test_paths(daemon: Daemon, method: str, path: str, status: int, message: str) -> None:
    target = os.path.normpath(f"{SANDBOXES}/{path}")
    refused(daemon.http(method, target, {} if method == "POST" else None), status, message)


def test_a_port_that_a_process_or_a_sandbox_has_is_named_with_its_holder(shared: Daemon) -> None:
    holder = shared.namespace.call(socket.create_server, ("0.0.0.0", 7070))
    with contextlib.closing(holder):
        for port, words in ((7070, "address already in use .held by process"), (8080, "port is already allocated")):
            assert boxes.create(shared, "new", "web", ports=[f"{port}:80"]).status == 201
            with nothing_changes(shared):
                answer = shared.http("POST", f"{SANDBOXES}/new/start", {})
                refused(answer, 500, f"failed to set up container networking: .*{port}.*{words}.*")
            boxes.remove(shared, "new")


def test_the_command_line_says_the_same(daemon: Daemon) -> None:
    for flags, status, words in (
        (["--ip", "10.50.0.9"], 125, "Address already in use"),
        (["-p", "90-80:80-90"], 125, "the range is reversed; write 80-90"),
        (["--mac-address", "01:00:5e:00:00:01"], 125, "it is a multicast address"),
        (["--sysctl", "kernel.hostname=x"], 125, "is not allowed"),
        (["--network-alias", "a b"], 125, "invalid network-scoped alias"),
    ):
        done = towline(daemon, "run", "-d", "--network", "web", *flags, "sleep", "600")
        assert done.status == status
        assert words in done.err


@pytest.fixture
def box(shared: Daemon) -> Iterator[Box]:
    with ExitStack() as stack:
        made = boxes.enter(shared, "box")
        stack.callback(made.close)
        yield made
        assert made.ask("box") == [made.ipv4]


def header(questions: int = 1) -> bytes:
    return struct.pack("!6H", 7, 0x0100, questions, 0, 0, 0)


PACKETS = {
    "empty": b"",
    "one byte": b"x",
    "header cut": header()[:11],
    "no question": header(),
    "question cut": header() + b"\3web",
    "name that points to itself": header() + b"\xc0\x0c\0\1\0\1",
    "two names that point to each other": header() + b"\xc0\x0e\xc0\x0c\0\1\0\1",
    "label of 255 bytes": header() + b"\xff" + b"a" * 255 + b"\0\0\1\0\1",
    "label of 64 bytes": header() + b"\x40" + b"a" * 64 + b"\0\0\1\0\1",
    "name of 600 bytes": header() + (b"\x3f" + b"a" * 63) * 9 + b"\0\0\1\0\1",
    "65535 questions": header(65535) + b"\3box\0\0\1\0\1",
    "an answer": struct.pack("!6H", 7, 0x8180, 1, 0, 0, 0) + b"\3box\0\0\1\0\1",
    "9000 bytes of nothing": bytes(9000),
}


@pytest.mark.parametrize("packet", PACKETS.values(), ids=PACKETS)
def test_dns_packets(box: Box, packet: bytes) -> None:
    """Over UDP and over TCP: refused or ignored, and the next question is answered (by the fixture)."""
    with box.ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(packet, ("127.0.0.11", 53))
        sock.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            assert len(sock.recv(65535)) >= 12
    with box.ns.call(socket.create_connection, ("127.0.0.11", 53), 5) as stream:
        stream.sendall(struct.pack("!H", len(packet)) + packet)
        stream.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while stream.recv(65535):
                pass


def test_64_kib_over_tcp(box: Box) -> None:
    """The longest message that TCP's length field allows, and one question after it on the same connection."""
    long = header() + b"\3box\0\0\1\0\1"
    long += bytes(65535 - len(long))
    query = dns.message.make_query("box", "A")
    with box.ns.call(socket.create_connection, ("127.0.0.11", 53), 5) as stream:
        stream.sendall(struct.pack("!H", len(long)) + long)
        with contextlib.suppress(ConnectionError, EOFError):
            box.ns.call(dns.query.send_tcp, stream, query)


def test_a_flood_of_questions_holds_nobody_up(box: Box, shared: Daemon) -> None:
    """From one sandbox, unanswered; memory does not grow, and others are answered."""
    before = shared.rss_kib()
    query = dns.message.make_query("nowhere.example.", "A").to_wire()
    with box.ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(20_000):
            sock.sendto(struct.pack("!H", number) + query[2:], ("127.0.0.11", 53))
    eventually(lambda: answered(box))
    assert shared.http("GET", "/_ping").status == 200
    assert shared.rss_kib() < before + 32 * 1024


def answered(box: Box) -> None:
    """As resolvers do, asked again when the question was lost."""
    try:
        assert box.ask("box", patience=0.3) == [box.ipv4]
    except dns.exception.Timeout as error:
        raise AssertionError("no answer") from error
