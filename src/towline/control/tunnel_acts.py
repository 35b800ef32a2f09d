"""Repairs of VXLAN devices and their rows (see `compare.Act`)."""

from __future__ import annotations

import msgspec

from towline.model.desired import Row, Vxlan
from towline.model.network import Network


class MakeTunnel(msgspec.Struct, frozen=True):
    network: Network
    tunnel: Vxlan
    rows: tuple[Row, ...]


class RepairTunnel(msgspec.Struct, frozen=True):
    """A device that was down has lost rows: all are put."""

    tunnel: Vxlan
    rows: tuple[Row, ...]


class SetRows(msgspec.Struct, frozen=True):
    """puts: one replace each. gone: what nobody needs on a device of ours."""

    tunnel: str
    puts: tuple[Row, ...]
    gone: tuple[Row, ...] = ()
