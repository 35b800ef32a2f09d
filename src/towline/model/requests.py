"""What clients ask for, as typed values. The API edge builds them; below it nobody sees JSON."""

from __future__ import annotations

import msgspec


class PoolRequest(msgspec.Struct, frozen=True):
    """One entry of IPAM.Config as sent. Texts are syntactically valid CIDR or address, or "" (the edge has checked)."""

    subnet: str = ""
    ip_range: str = ""
    gateway: str = ""
    aux: dict[str, str] = {}


class CreateNetwork(msgspec.Struct, frozen=True):
    """POST /networks/create. None means the client did not say (a default applies)."""

    name: str
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = None
    enable_ipv6: bool | None = None
    ipam_driver: str = ""
    ipam_options: dict[str, str] | None = None
    pools: tuple[PoolRequest, ...] = ()
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: str = ""
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class Created(msgspec.Struct, frozen=True):
    id: str
    warning: str = ""
