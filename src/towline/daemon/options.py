"""The table of options: one row per flag and configuration key, with dockerd's names, and what `--help` says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from towline.daemon import values

Kind = Literal["bool", "text", "int", "list", "pools", "network-opts"]


class Option(msgspec.Struct, frozen=True):
    """flag: without dashes. key: in the configuration file. field: of Config. kind: its shape there and in the file.

    parse: checks one value given as text. metavar "": a boolean flag. help: one line.
    """

    flag: str
    key: str
    field: str
    kind: Kind
    parse: Callable[[str], object]
    help: str
    metavar: str = ""
    short: str = ""


def _option(
    flag: str, kind: Kind, parse: Callable[[str], object], metavar: str, text: str, *, short: str = "", key: str = ""
) -> Option:
    """The field's name is the key's, with underscores."""
    name = key or flag
    return Option(flag, name, name.replace("-", "_"), kind, parse, text, metavar, short)


def _bool(flag: str, text: str, short: str = "") -> Option:
    return _option(flag, "bool", values.parse_bool, "", text, short=short)


def _text(flag: str, parse: Callable[[str], object], metavar: str, text: str, short: str = "") -> Option:
    return _option(flag, "text", parse, metavar, text, short=short)


OPTIONS: tuple[Option, ...] = (
    _text("bip", values.parse_bip, "CIDR", "IPv4 address and prefix of the default bridge"),
    _text("bip6", values.parse_bip6, "CIDR", "IPv6 address and prefix of the default bridge"),
    _text("data-root", values.parse_path, "DIR", "directory of lasting state (default /var/lib/towline)"),
    _text(
        "cluster-store",
        values.parse_cluster_store,
        "URL",
        "etcd of yours that managers use, etcd://... (default: they run one)",
    ),
    _bool("debug", "log debugging detail", short="D"),
    _option(
        "default-address-pool",
        "pools",
        values.parse_pool,
        "base=CIDR,size=N",
        "pool that networks without a subnet take theirs from; repeatable",
        key="default-address-pools",
    ),
    _text("default-gateway", values.parse_ipv4, "IP", "IPv4 gateway that containers on the default bridge use"),
    _text("default-gateway-v6", values.parse_ipv6, "IP", "IPv6 gateway that containers on the default bridge use"),
    _option(
        "default-network-opt",
        "network-opts",
        values.parse_network_opt,
        "DRIVER=OPT=VALUE",
        "option that new networks of a driver get; repeatable",
        key="default-network-opts",
    ),
    _option(
        "encryption-key-rotation",
        "int",
        values.parse_key_rotation,
        "SECONDS",
        "how long this node uses a key of encrypted networks (default 43200)",
    ),
    _text("exec-root", values.parse_path, "DIR", "directory of state until reboot (default /run/towline)"),
    _text("fixed-cidr", values.parse_cidr4, "CIDR", "IPv4 range within the default bridge to take addresses from"),
    _text("fixed-cidr-v6", values.parse_cidr6, "CIDR", "IPv6 range within the default bridge to take addresses from"),
    _text("group", values.parse_text, "GROUP", "group that may use the unix socket (default: root's only)", short="G"),
    _option(
        "host",
        "list",
        values.parse_host,
        "ADDR",
        "unix://, tcp:// or fd://; repeatable (default unix://EXEC_ROOT/docker.sock)",
        short="H",
        key="hosts",
    ),
    _bool("icc", "endpoints of the default bridge may talk to each other (default true)"),
    _text("ip", values.parse_ip, "IP", "host address that ports are published on by default (default 0.0.0.0)"),
    _bool("ip-forward", "turn on forwarding in the kernel (default true)"),
    _bool("ip-masq", "masquerade what leaves the default bridge (default true)"),
    _bool("ipv6", "IPv6 on the default bridge"),
    _option("label", "list", values.parse_label, "KEY=VALUE", "label shown by `docker info`; repeatable", key="labels"),
    _text("log-format", values.parse_log_format, "FORMAT", "text or json (default text)"),
    _text("log-level", values.parse_log_level, "LEVEL", "debug, info, warn, error or fatal (default info)", short="l"),
    _text(
        "metrics-addr", values.parse_metrics_addr, "HOST:PORT", "where to serve Prometheus metrics (default: nowhere)"
    ),
    _option("mtu", "int", values.parse_mtu, "N", "MTU of the default bridge (default: the driver's)"),
    _text("pidfile", values.parse_path, "FILE", "process id file (default EXEC_ROOT/towlined.pid)", short="p"),
    _text(
        "swarm-default-advertise-addr",
        values.parse_text,
        "ADDR",
        "address or interface that this node advertises in a swarm",
    ),
    _bool("tls", "TLS on tcp:// hosts; implied by --tlsverify"),
    _text("tlscacert", values.parse_path, "FILE", "CA whose client certificates are accepted"),
    _text("tlscert", values.parse_path, "FILE", "the daemon's certificate (PEM)"),
    _text("tlskey", values.parse_path, "FILE", "the daemon's private key (PEM)"),
    _bool("tlsverify", "TLS, and only clients with a certificate of --tlscacert"),
)

# Flags that are not configuration: short name, flag, what follows it, help.
_OTHER = (
    ("", "config-file", "FILE", "configuration file (default /etc/towline/daemon.json, if it exists)"),
    ("", "validate", "", "check flags and configuration file, and exit"),
    ("v", "version", "", "print the version and exit"),
    ("h", "help", "", "print this text and exit"),
)
_ROWS = sorted([(o.short, o.flag, o.metavar, o.help) for o in OPTIONS] + list(_OTHER), key=lambda row: row[1])
BY_KEY = {option.key: option for option in OPTIONS}
METAVARS = {flag: metavar for _, flag, metavar, _ in _ROWS}
"""Every flag -> what follows it, "" for a boolean."""
SHORTS = {short: flag for short, flag, _, _ in _ROWS if short}
SHORT_OF = {flag: short for short, flag in SHORTS.items()}


def suggestion(name: str, known: Iterable[str], prefix: str = "") -> str:
    """`"; did you mean x?"` or ""."""
    from difflib import get_close_matches

    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {prefix}{close[0]}?" if close else ""


def help_text() -> str:
    lines = [
        "Usage: towlined [OPTIONS]",
        "",
        "Container networks on one host, with Docker's network API.",
        "",
        "Options:",
    ]
    for short, flag, metavar, text in _ROWS:
        name = f"  {f'-{short},' if short else '   '} --{flag} {metavar}".rstrip()
        lines.append(f"{name:<44} {text}" if len(name) < 44 else f"{name}\n{'':<45}{text}")
    return "\n".join(lines) + "\n"
