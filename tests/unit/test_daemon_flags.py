"""Flags of towlined: dockerd's names and syntax, and errors that name flag, value and what would be right."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.daemon.flags import UsageError, parse_flags
from towline.daemon.load import load
from towline.daemon.options import OPTIONS, help_text
from towline.model.config import AddressPool, Config
from towline.model.errors import ConfigError


def config(*argv: str) -> Config:
    return load(list(argv)).config


def refusal(*argv: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(list(argv))
    return str(caught.value)


def test_defaults() -> None:
    assert config() == Config()
    assert config().hosts == ("unix:///run/towline/docker.sock",)


@pytest.mark.parametrize(
    ("argv", "field", "value"),
    [
        (["--bip", "172.20.0.1/16"], "bip", "172.20.0.1/16"),
        (["--bip6=fd00:db8::1/64"], "bip6", "fd00:db8::1/64"),
        (["--data-root", "/a/../b"], "data_root", "/b"),
        (["-D"], "debug", True),
        (["--debug=f"], "debug", False),
        (["-l", "error"], "log_level", "error"),
        (["-lerror"], "log_level", "error"),
        (["-l=error"], "log_level", "error"),
        (["-Dl", "error"], "log_level", "error"),
        (["--log-level", "warning"], "log_level", "warn"),
        (["--log-format", "json"], "log_format", "json"),
        (["-p", "/run/x.pid"], "pidfile", "/run/x.pid"),
        (["-G", "docker"], "group", "docker"),
        (["--mtu", "1450", "--mtu", "1400"], "mtu", 1400),
        (["--ip", "192.0.2.1"], "ip", "192.0.2.1"),
        (["--ip", "::"], "ip", "::"),
        (["--ipv6"], "ipv6", True),
        (["--icc=false"], "icc", False),
        (["--ip-forward=False"], "ip_forward", False),
        (["--ip-masq=0"], "ip_masq", False),
        (["--default-gateway", "172.20.0.254"], "default_gateway", "172.20.0.254"),
        (["--default-gateway-v6", "FD00::1"], "default_gateway_v6", "fd00::1"),
        (["--fixed-cidr", "172.20.4.0/24"], "fixed_cidr", "172.20.4.0/24"),
        (["--fixed-cidr-v6", "fd00:db8:0:1::/64"], "fixed_cidr_v6", "fd00:db8:0:1::/64"),
        (["--label", "a=1", "--label", "b=2"], "labels", ("a=1", "b=2")),
        (["--metrics-addr", "127.0.0.1:9323"], "metrics_addr", "127.0.0.1:9323"),
        (["--cluster-store", "etcd://192.0.2.9"], "cluster_store", "etcd://192.0.2.9"),
        (["--swarm-default-advertise-addr", "eth0"], "swarm_default_advertise_addr", "eth0"),
        (
            ["--default-address-pool", "base=10.0.0.0/8,size=24", "--default-address-pool", "size=64,base=fd00::/48"],
            "default_address_pools",
            (AddressPool("10.0.0.0/8", 24), AddressPool("fd00::/48", 64)),
        ),
        (
            [
                "--default-network-opt",
                "bridge=com.docker.network.driver.mtu=1400",
                "--default-network-opt=bridge=a=b=c",
            ],
            "default_network_opts",
            {"bridge": {"com.docker.network.driver.mtu": "1400", "a": "b=c"}},
        ),
        (["-H", "tcp://0.0.0.0"], "hosts", ("tcp://0.0.0.0:2375",)),
        (["-H", "tcp://:4000"], "hosts", ("tcp://127.0.0.1:4000",)),
        (["-H", "tcp://[::1]:4000", "-H", "fd://"], "hosts", ("tcp://[::1]:4000", "fd://")),
        (["--host", "unix:///run//d.sock"], "hosts", ("unix:///run/d.sock",)),
        (
            ["-H=tcp://h", "--tlsverify", "--tlscacert=/c", "--tlscert=/d", "--tlskey=/k"],
            "hosts",
            ("tcp://h:2376",),
        ),
        (["--tlsverify", "--tlscacert=/c", "--tlscert=/d", "--tlskey=/k"], "tls", True),
    ],
)
def test_value_reaches_its_field(argv: list[str], field: str, value: object) -> None:
    assert getattr(config(*argv), field) == value


def test_socket_and_pidfile_follow_exec_root() -> None:
    made = config("--exec-root", "/run/second")
    assert made.hosts == ("unix:///run/second/docker.sock",)
    assert made.pidfile == "/run/second/towlined.pid"


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--bip", "10.0.0.1"], ["--bip", "10.0.0.1", "no prefix length", "172.18.0.1/16"]),
        (["--bip", "10.0.0.0/8"], ["--bip", "10.0.0.0/8", "subnet's own address", "10.0.0.1/8"]),
        (["--bip", "10.0.0.255/24"], ["--bip", "broadcast", "10.0.0.1/24"]),
        (["--bip", "fd00::1/64"], ["--bip", "not an IPv4 address"]),
        (["--bip6", "10.0.0.1/8"], ["--bip6", "not an IPv6 address"]),
        (["--fixed-cidr", "10.0.0.0"], ["--fixed-cidr", "10.0.0.0", "no prefix length"]),
        (["--default-address-pool", "base=10.0.0.0/8,size=4"], ["--default-address-pool", "size 4 is smaller", "/8"]),
        (["--default-address-pool", "base=10.0.0.0/8,size=33"], ["size 33 is above 32"]),
        (["--default-address-pool", "base=10.0.0.0/8"], ["size missing", "base=10.0.0.0/8,size=24"]),
        (["--default-address-pool", "base=10.0.0.0,size=24"], ["no prefix length"]),
        (["--default-address-pool", "base=10.0.0.0/8,size=x"], ["'x' is not a prefix length"]),
        (["--default-address-pool", "bogus"], ["'bogus' is neither base=SUBNET nor size=PREFIX"]),
        (["--default-network-opt", "bridge=mtu"], ["--default-network-opt", "bridge=mtu", "DRIVER=OPTION=VALUE"]),
        (["--mtu", "67"], ["--mtu", '"67"', "between 68 and 65535"]),
        (["--mtu", "65536"], ["between 68 and 65535"]),
        (["--mtu", "-1"], ["between 68 and 65535"]),
        (["--mtu", "big"], ["not a whole number"]),
        (["--mtu", "1279", "--ipv6"], ["--mtu", "1279", "IPv6 needs an MTU of at least 1280"]),
        (["--ip", "localhost"], ["--ip", "localhost", "not an IP address"]),
        (["--icc=yes"], ["--icc", '"yes"', "write true or false"]),
        (["-l", "loud"], ['"-l, --log-level"', '"loud"', "debug, info, warn, error, fatal"]),
        (["--log-format", "xml"], ["--log-format", "text, json"]),
        (["--label", "lonely"], ["bad attribute format: lonely"]),
        (["--label", "a=1", "--label", "a=2"], ["conflict labels for a=2 and a=1"]),
        (["--cluster-store", "etcd://u:p@192.0.2.9"], ["--cluster-store", "put it in a file"]),
        (["--cluster-store", "https://192.0.2.9"], ["--cluster-store", "not an etcd URL: want etcd://"]),
        (["--metrics-addr", "127.0.0.1"], ["--metrics-addr", "a port is needed"]),
        (["-H", "docker.sock"], ['"-H, --host"', "docker.sock", "unix:///path/to.sock, tcp://host:port or fd://"]),
        (["-H", "npipe://x"], ["scheme 'npipe' is not served"]),
        (["-H", "unix://run/x"], ["absolute path"]),
        (["-H", "unix:///" + "x" * 107], ["longer than 107 bytes"]),
        (["-H", "tcp://::1:2375"], ["in brackets"]),
        (["-H", "tcp://h:99999"], ["port '99999'"]),
        (["-H", "fd://", "-H", "fd://"], ["--host", "fd:// is given twice"]),
        (["--exec-root", "/" + "x" * 120], ["exec-root", "longer than 107 bytes"]),
        (
            ["--bip", "10.0.0.1/24", "--fixed-cidr", "10.0.1.0/25"],
            ["--fixed-cidr", "10.0.1.0/25", "outside 10.0.0.0/24"],
        ),
        (["--bip", "10.0.0.1/24", "--fixed-cidr", "10.0.0.0/16"], ["--fixed-cidr", "outside 10.0.0.0/24"]),
        (["--bip", "10.0.0.1/24", "--default-gateway", "10.0.1.1"], ["--default-gateway", "10.0.1.1", "outside"]),
        (["--bip6", "fd00::1/64", "--fixed-cidr-v6", "fd01::/80"], ["--fixed-cidr-v6", "outside fd00::/64"]),
        (["--tlsverify"], ["--tlsverify", "needs tlscert, tlskey, tlscacert too"]),
        (["--tls", "--tlscert", "/c"], ["--tls", "needs tlskey too"]),
        (["--data-root", ""], ["--data-root", "a path is needed"]),
        (["--nonsense"], ["unknown flag: --nonsense"]),
        (["--data-rot", "/x"], ["unknown flag: --data-rot", "did you mean --data-root?"]),
        (["-x"], ["unknown shorthand flag: 'x' in -x"]),
        (["--mtu"], ["flag needs an argument: --mtu"]),
        (["-DH"], ["flag needs an argument: -H"]),
        (["run"], ["accepts no arguments", "'run'"]),
        (["--", "run"], ["accepts no arguments"]),
    ],
)
def test_refusal_names_flag_value_and_remedy(argv: list[str], parts: list[str]) -> None:
    message = refusal(*argv)
    for part in parts:
        assert part in message


def test_syntax_errors_are_usage_errors() -> None:
    with pytest.raises(UsageError):
        parse_flags(["--mtu", "big"])


@pytest.mark.parametrize(
    ("argv", "action"),
    [
        ([], "run"),
        (["--validate"], "validate"),
        (["-v"], "version"),
        (["--help", "--mtu", "x"], "help"),
        (["--help=false"], "run"),
    ],
)
def test_action(argv: list[str], action: str) -> None:
    assert parse_flags(argv).action == action


def test_help_names_every_flag() -> None:
    text = help_text()
    for option in OPTIONS:
        assert f"--{option.flag}" in text
    assert max(map(len, text.splitlines())) <= 120


def test_every_option_is_a_field_of_config() -> None:
    assert {option.field for option in OPTIONS} == set(Config.__struct_fields__)


@given(
    st.lists(
        st.text(max_size=30) | st.sampled_from(["-H", "--bip", "-D", "--", "--mtu=", "--label=", "--host="]), max_size=6
    )
)
def test_any_command_line_is_parsed_or_refused(argv: list[str]) -> None:
    with contextlib.suppress(ConfigError):
        parse_flags(argv)


def test_documentation_has_every_option() -> None:
    text = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    for option in OPTIONS:
        assert f"`--{option.flag}`" in text
        assert f"`{option.key}`" in text or "| the same |" in next(
            line for line in text.splitlines() if f"`--{option.flag}`" in line
        )
