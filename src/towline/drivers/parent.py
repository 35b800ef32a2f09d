"""The link of the host that interfaces of macvlan and ipvlan networks are made on (option `parent`).

Rules and texts: moby daemon/libnetwork/drivers/macvlan/macvlan_setup.go (docker-api facts 5.4).
"""

from __future__ import annotations

import re
from typing import Literal

from towline.model.desired import Parent, parent_alias
from towline.model.errors import Failure

PARENT = "parent"
_VLAN_MAX = 4094
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")
_MOST_SHOWN = 64


def parent_of(option: str, prefix: Literal["dm", "di"], network_id: str) -> Parent:
    """option "": a dummy link of the network's own. NAME.ID becomes a VLAN if no link of that name is there."""
    if not option:
        name = f"{prefix}-{network_id[:12]}"
        return Parent(name, "dummy", parent_alias(name))
    lower, dot, text = option.partition(".")
    if dot and text.isascii() and text.isdigit() and len(text) <= 4 and 0 < int(text) <= _VLAN_MAX:
        return Parent(option, "vlan", parent_alias(option), lower, int(text))
    return Parent(option, lower=lower if dot else "")


def why_absent(parent: Parent, *, lower_there: bool) -> Failure:
    """The refusal for one that is not on the host and cannot be made. lower_there: its link before the dot is."""
    shown = parent.name[:_MOST_SHOWN]
    if not parent.lower and "." not in parent.name:
        return Failure(f"invalid subinterface vlan name {shown}, example formatting is eth0.10")
    if parent.name.count(".") != 1:
        return Failure(
            f"required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {shown}"
        )
    text = parent.name.rpartition(".")[2][:_MOST_SHOWN]
    if not _INTEGER.match(text):
        return Failure(f"unable to parse a valid vlan id from: {text} (ex. eth0.10 for vlan 10)")
    if not lower_there:
        return Failure(f"-o parent interface was not found on the host: {parent.lower[:_MOST_SHOWN]}")
    return Failure(f"vlan id must be between 1-{_VLAN_MAX}, received: {int(text)}")
