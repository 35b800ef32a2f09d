"""Admission of sandboxes: every bad request by name."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.model.endpoint import ANYTHING, EndpointConfig
from towline.model.errors import Conflict, Forbidden, InvalidParameter, NotFound, TowlineError
from towline.model.network import Network, Pool
from towline.model.requests import CreateSandbox
from towline.model.sandbox import DnsConfig, PortBinding, Process, Sandbox
from towline.model.view import View
from towline.policy.sandbox import admit_sandbox, find_sandbox
from towline.policy.sandbox_files import split_extra_host
from towline.store.contract import Put
from towline.store.memory import MemoryStore

BRIDGE = Network("d" * 64, "bridge", 1, "bridge", phase="ready")
WEB = Network("w" * 64, "web", 1, "bridge", phase="ready", pools=(Pool("10.80.0.0/24"),))
HOST = Network("h" * 64, "host", 1, "host", phase="ready")
NONE = Network("0" * 64, "none", 1, "null", phase="ready")
CONFIG = Network("c" * 64, "cfg", 1, "null", phase="ready", config_only=True)
TAKEN = Sandbox("ab" * 32, "taken", 1)
OTHER = Sandbox("ac" * 32, "other", 1)


def view() -> View:
    store = MemoryStore()
    store.update([Put(record) for record in (BRIDGE, WEB, HOST, NONE, CONFIG, TAKEN, OTHER)])
    return store.view()


def test_what_is_filled_in() -> None:
    admitted = admit_sandbox(CreateSandbox(extra_hosts=("a=10.0.0.1", "b:[fd00::1]")), view())
    assert admitted.request.networks == {"bridge": ANYTHING}
    assert admitted.request.extra_hosts == ("a:10.0.0.1", "b:fd00::1")
    assert admitted.networks == ((BRIDGE, ANYTHING),)


@pytest.mark.parametrize(
    "request_",
    [
        CreateSandbox(name="a.b-c_D9", hostname="h-1.example.org", command=("sleep", "1"), environment=("A=b", "C=")),
        CreateSandbox(networks={"web": EndpointConfig(ipv4="10.80.0.9"), "d" * 12: ANYTHING}),
        CreateSandbox(networks={"host": ANYTHING}),
        CreateSandbox(networks={"none": ANYTHING}),
        CreateSandbox(restart="on-failure:3"),
        CreateSandbox(restart="always:0"),
        CreateSandbox(restart="unless-stopped", sysctls={"net.ipv4.ip_forward": "1", "net.core.somaxconn": "1024"}),
        CreateSandbox(dns=DnsConfig(("10.0.0.1", "fd00::1"), ("example.org", ".", "_x.org."), ("ndots:2",))),
        CreateSandbox(netns="/run/netns/x", networks={"web": ANYTHING}),
        CreateSandbox(process=Process(7, 8)),
        CreateSandbox(ports=(PortBinding(80),)),
    ],
)
def test_requests_that_are_right(request_: CreateSandbox) -> None:
    assert admit_sandbox(request_, view()).networks


ONLY = "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
ATTACHED = CreateSandbox(netns="/run/netns/x")


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"name": "../../etc"}, InvalidParameter, f"Invalid container name (../../etc), {ONLY}"),
        ({"name": "a/b"}, InvalidParameter, f"Invalid container name (a/b), {ONLY}"),
        ({"name": "x"}, InvalidParameter, f"Invalid container name (x), {ONLY}"),
        ({"name": ".."}, InvalidParameter, f"Invalid container name (..), {ONLY}"),
        ({"name": "web\n"}, InvalidParameter, f"Invalid container name (web\\n), {ONLY}"),
        ({"name": "-rm"}, InvalidParameter, ONLY),
        ({"name": "é1"}, InvalidParameter, ONLY),
        ({"name": "n" * 256}, InvalidParameter, ONLY),
        (
            {"name": "taken"},
            Conflict,
            f'Conflict. The container name "/taken" is already in use by container "{TAKEN.id}". '
            "You have to remove (or rename) that container to be able to reuse that name.",
        ),
        ({"hostname": "a b"}, InvalidParameter, "invalid hostname format: 'a b'"),
        ({"hostname": "h\n127.0.0.1 x"}, InvalidParameter, "invalid hostname format: 'h\\n127.0.0.1 x'"),
        ({"hostname": "h" * 64}, InvalidParameter, "invalid hostname format"),
        ({"hostname": "a..b"}, InvalidParameter, "invalid hostname format"),
        ({"extra_hosts": ("x",)}, InvalidParameter, "bad format for add-host: 'x': write NAME:ADDRESS"),
        ({"extra_hosts": (":10.0.0.1",)}, InvalidParameter, "bad format for add-host: ':10.0.0.1'"),
        ({"extra_hosts": ("a b:10.0.0.1",)}, InvalidParameter, "bad format for add-host: 'a b:10.0.0.1'"),
        ({"extra_hosts": ("a:1.2.3",)}, InvalidParameter, "invalid IP address in add-host: '1.2.3'"),
        ({"extra_hosts": ("a:10.0.0.1\n9.9.9.9 b",)}, InvalidParameter, "invalid IP address in add-host: '10.0.0.1\\n"),
        ({"extra_hosts": ("a\nb:10.0.0.1",)}, InvalidParameter, "bad format for add-host: 'a\\nb:10.0.0.1'"),
        ({"extra_hosts": ("a:fe80::1%eth0\n",)}, InvalidParameter, "invalid IP address in add-host"),
        ({"dns": DnsConfig(servers=("x",))}, InvalidParameter, "IP address is not correctly formatted: 'x'"),
        ({"dns": DnsConfig(search=("a\nb",))}, InvalidParameter, "'a\\nb' is not a valid domain"),
        ({"dns": DnsConfig(search=("",))}, InvalidParameter, "'' is not a valid domain"),
        ({"dns": DnsConfig(options=("ndots:1\nnameserver 9.9.9.9",))}, InvalidParameter, "DNS option 'ndots:1\\n"),
        ({"dns": DnsConfig(options=("a b",))}, InvalidParameter, "DNS option 'a b': give one word each"),
        ({"sysctls": {"kernel.shmmax": "1"}}, InvalidParameter, "sysctl 'kernel.shmmax' is not allowed"),
        ({"sysctls": {"net": "1"}}, InvalidParameter, "sysctl 'net' is not allowed"),
        ({"sysctls": {"net/../kernel/x": "1"}}, InvalidParameter, "sysctl 'net/../kernel/x' is not allowed"),
        ({"sysctls": {"net...kernel.x": "1"}}, InvalidParameter, "sysctl 'net...kernel.x' is not allowed"),
        ({"sysctls": {"net.ipv4.x": "1\n2"}}, InvalidParameter, "sysctl net.ipv4.x: its value holds a line break"),
        (
            {"sysctls": {"net.ipv4.x": "1"}, "networks": {"host": ANYTHING}},
            InvalidParameter,
            'sysctl "net.ipv4.x" not allowed in host network namespace',
        ),
        (
            {"sysctls": {"net.ipv4.x": "1"}, "netns": "/x"},
            InvalidParameter,
            "a namespace that is attached keeps its own",
        ),
        ({"restart": "sometimes"}, InvalidParameter, "invalid restart policy: unknown policy 'sometimes'; use one of"),
        ({"restart": "always:3"}, InvalidParameter, "maximum retry count can only be used with 'on-failure'"),
        ({"restart": "on-failure:-1"}, InvalidParameter, "maximum retry count cannot be negative"),
        ({"restart": "on-failure:x"}, InvalidParameter, "maximum retry count must be an integer"),
        (
            {"restart": "always", "auto_remove": True},
            InvalidParameter,
            "can't create 'AutoRemove' container with restart policy",
        ),
        ({"restart": "always", "netns": "/x"}, InvalidParameter, "a restart policy and attaching"),
        ({"command": ("a\0b",)}, InvalidParameter, "argument 'a\\x00b' holds a NUL byte"),
        ({"environment": ("A=\0",)}, InvalidParameter, "environment variable 'A=\\x00' holds a NUL byte"),
        ({"environment": ("=x",)}, InvalidParameter, "invalid environment variable: '=x': write NAME=VALUE"),
        ({"environment": ("PATH",)}, InvalidParameter, "invalid environment variable: 'PATH': write NAME=VALUE"),
        (
            {"directory": "tmp"},
            InvalidParameter,
            "the working directory 'tmp' is invalid, it needs to be an absolute path",
        ),
        ({"netns": "x"}, InvalidParameter, "network namespace 'x': it needs to be an absolute path"),
        ({"netns": "/x", "process": Process(1, 2)}, InvalidParameter, "either a network namespace or a process"),
        ({"netns": "/x", "networks": {"host": ANYTHING}}, InvalidParameter, "cannot connect container to host network"),
        ({"networks": {"nope": ANYTHING}}, NotFound, "network nope not found"),
        ({"networks": {"web": ANYTHING, "w" * 12: ANYTHING}}, InvalidParameter, "network web is named twice"),
        ({"networks": {"cfg": ANYTHING}}, Forbidden, "cannot create endpoint on configuration-only network"),
        (
            {"networks": {"web": EndpointConfig(ipv4="10.9.9.9")}},
            InvalidParameter,
            "invalid config for network web: invalid endpoint settings:\n"
            "no configured subnet contains IP address 10.9.9.9",
        ),
        ({"networks": {"host": ANYTHING, "web": ANYTHING}}, InvalidParameter, "container sharing network namespace"),
        (
            {"networks": {"web": ANYTHING, "none": ANYTHING}},
            InvalidParameter,
            "container cannot be connected to multiple",
        ),
        (
            {"networks": {"host": ANYTHING}, "ports": (PortBinding(80),)},
            InvalidParameter,
            "conflicting options: port publishing and the network host",
        ),
        (
            {"networks": {"none": ANYTHING}, "ports": (PortBinding(80),)},
            InvalidParameter,
            "conflicting options: port publishing and the network none",
        ),
    ],
)
def test_requests_that_are_wrong(fields: dict[str, Any], error: type[TowlineError], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        admit_sandbox(CreateSandbox(**fields), view())


def test_finding() -> None:
    known = view()
    assert find_sandbox(known, TAKEN.id) == TAKEN
    assert find_sandbox(known, "taken") == find_sandbox(known, "/taken") == find_sandbox(known, "ab") == TAKEN
    with pytest.raises(InvalidParameter, match="^multiple IDs found with provided prefix: a$"):
        find_sandbox(known, "a")
    with pytest.raises(NotFound, match="^No such container: nope$"):
        find_sandbox(known, "nope")
    with pytest.raises(InvalidParameter, match='^invalid name or ID supplied: ""$'):
        find_sandbox(known, "")


@given(st.text(max_size=40))
def test_an_extra_host_is_one_line_or_refused(entry: str) -> None:
    try:
        name, address = split_extra_host(entry)
    except InvalidParameter:
        return
    line = f"{address}\t{name}"
    assert line.split() == [address, name]
    assert len(line.splitlines()) == 1
