"""Request bodies: Docker's types as Go has them, and as records for the fast path.

A record that refuses unknown members is decoded fast; a body with other letter case or stray members, and one whose
record keeps only a part, takes the exact path.
"""

from __future__ import annotations

import msgspec

from towline.api.goaddr import BadAddress, parse_addr, parse_prefix
from towline.api.gojson.decode import BOOL, STRING, Map, Slice, Struct, Text
from towline.api.versions import Version
from towline.model.errors import InvalidParameter
from towline.model.requests import CreateNetwork, PoolRequest


class IpamConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    subnet: str | None = None
    ip_range: str | None = msgspec.field(default=None, name="IPRange")
    gateway: str | None = None
    auxiliary_addresses: dict[str, str] | None = None


class Ipam(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    driver: str | None = None
    options: dict[str, str] | None = None
    config: tuple[IpamConfig, ...] | None = None


class ConfigReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    network: str | None = None


class CreateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    """`CheckDuplicate` is accepted and means nothing: duplicates are always refused."""

    name: str | None = None
    check_duplicate: bool | None = None
    driver: str | None = None
    scope: str | None = None
    enable_ipv4: bool | None = msgspec.field(default=None, name="EnableIPv4")
    enable_ipv6: bool | None = msgspec.field(default=None, name="EnableIPv6")
    ipam: Ipam | None = msgspec.field(default=None, name="IPAM")
    internal: bool | None = None
    attachable: bool | None = None
    ingress: bool | None = None
    config_only: bool | None = None
    config_from: ConfigReference | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


_ADDR = Text("netip.Addr", parse_addr)
_PREFIX = Text("netip.Prefix", parse_prefix)
_STRINGS = Map(STRING)

GO_CREATE = Struct(
    "network.CreateRequest",
    {
        "Name": STRING,
        "Driver": STRING,
        "Scope": STRING,
        "EnableIPv4": BOOL,
        "EnableIPv6": BOOL,
        "IPAM": Struct(
            "network.IPAM",
            {
                "Driver": STRING,
                "Options": _STRINGS,
                "Config": Slice(
                    Struct(
                        "network.IPAMConfig",
                        {"Subnet": _PREFIX, "IPRange": _PREFIX, "Gateway": _ADDR, "AuxiliaryAddresses": Map(_ADDR)},
                    )
                ),
            },
        ),
        "Internal": BOOL,
        "Attachable": BOOL,
        "Ingress": BOOL,
        "ConfigOnly": BOOL,
        "ConfigFrom": Struct("network.ConfigReference", {"Network": STRING}),
        "Options": _STRINGS,
        "Labels": _STRINGS,
    },
)
_EXPLICIT_IPV4 = (1, 48)


def create_network(body: CreateRequest, version: Version) -> CreateNetwork:
    """The typed request. Before API 1.48 EnableIPv4 is not heard. InvalidParameter for a bad address or prefix."""
    ipam = body.ipam or Ipam()
    try:
        pools = tuple(_pool(config) for config in ipam.config or ())
    except BadAddress as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None
    return CreateNetwork(
        name=body.name or "",
        driver=body.driver or "",
        scope=body.scope or "",
        enable_ipv4=body.enable_ipv4 if version >= _EXPLICIT_IPV4 else None,
        enable_ipv6=body.enable_ipv6,
        ipam_driver=ipam.driver or "",
        ipam_options=ipam.options,
        pools=pools,
        internal=bool(body.internal),
        attachable=bool(body.attachable),
        ingress=bool(body.ingress),
        config_only=bool(body.config_only),
        config_from=(body.config_from and body.config_from.network) or "",
        options=body.options or {},
        labels=body.labels or {},
    )


def _pool(config: IpamConfig) -> PoolRequest:
    return PoolRequest(
        subnet=parse_prefix(config.subnet or ""),
        ip_range=parse_prefix(config.ip_range or ""),
        gateway=parse_addr(config.gateway or ""),
        aux={name: parse_addr(address) for name, address in (config.auxiliary_addresses or {}).items()},
    )
