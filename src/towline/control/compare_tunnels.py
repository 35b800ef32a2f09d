"""Store against kernel: VXLAN devices and their rows, as plain values. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

from towline.control.compare import Difference, Obstructed
from towline.control.tunnel_acts import MakeTunnel, RepairTunnel, SetRows
from towline.kernel.contract import Link
from towline.model.desired import Row, Vxlan
from towline.model.info import Finding
from towline.model.network import Network
from towline.model.secure import ANYWHERE


def compare_tunnel(
    network: Network, tunnel: Vxlan, rows: Sequence[Row], link: Link | None, bridge: Link | None
) -> Difference | None:
    """link: the one of the tunnel's name; bridge: the network's. rows: all that the device must have."""
    subject = f"network {network.name}"
    if link is None:
        finding = Finding(subject, f"its tunnel {tunnel.name} does not exist", "make it")
        return Difference(finding, MakeTunnel(network, tunnel, tuple(rows)))
    if link.vxlan is None or link.alias not in ("", tunnel.alias):
        owner = f"marked {link.alias!r}" if link.alias else "not ours"
        problem = f"a {link.kind or 'plain'} link named {tunnel.name}, {owner}, stands where its tunnel should"
        return Difference(Finding(subject, problem, "rename or delete that link by hand"), Obstructed(network))
    if problems := _problems(tunnel, link, bridge):
        finding = Finding(subject, f"tunnel {tunnel.name}: {'; '.join(problems)}", "correct it")
        return Difference(finding, RepairTunnel(tunnel, tuple(rows)))
    return None


def _problems(tunnel: Vxlan, link: Link, bridge: Link | None) -> list[str]:
    state = link.vxlan
    if state is None:
        return []
    problems = []
    if link.alias != tunnel.alias:
        problems.append("our mark is missing")
    if not link.up:
        problems.append("is down")
    for word, found, wanted in (
        ("MAC", link.mac, tunnel.mac),
        ("MTU", link.mtu, tunnel.mtu),
        ("VXLAN id", state.vni, tunnel.vni),
        ("port", state.port, tunnel.port),
        ("local address", state.local or (ANYWHERE if tunnel.secure else "none"), tunnel.local),
    ):
        if found != wanted:
            problems.append(f"{word} is {found}, not {wanted}")
    if not state.plain:
        problems.append("it learns, floods or does not answer for the others")
    if link.master != bridge.index if bridge else not link.master:
        problems.append(f"is not plugged into {tunnel.bridge}")
    return problems


def compare_rows(network: Network, tunnel: Vxlan, wanted: Sequence[Row], found: Sequence[Row]) -> Difference | None:
    """One act: what is missing or wrong is put, what is too many goes. It is our device: whatever row is on it that the
    store does not want would lead packets astray, so it is no question of sweeping."""
    fdb = {row.mac: row.vtep for row in wanted if row.vtep}
    owners = {address: row.mac for row in wanted for address in row.addresses}
    held, addresses, gone = _held(found, fdb, owners)
    puts = tuple(row for row in wanted if held.get(row.mac) != row.vtep or not set(row.addresses) <= addresses)
    if not puts and not gone:
        return None
    words = [f"{_count(len(puts))} missing or wrong"] * bool(puts) + [f"{_count(len(gone))} too many"] * bool(gone)
    finding = Finding(f"network {network.name}", f"tunnel {tunnel.name}: {', '.join(words)}", "set them")
    return Difference(finding, SetRows(tunnel.name, puts, gone))


def _held(
    found: Sequence[Row], fdb: dict[str, str], owners: dict[str, str]
) -> tuple[dict[str, str], set[str], tuple[Row, ...]]:
    """What is right: MAC -> VTEP, and addresses; and what nobody wants. What a put replaces is neither."""
    right: dict[str, str] = {}
    addresses: set[str] = set()
    gone: list[Row] = []
    for row in found:
        if fdb.get(row.mac) == row.vtep:
            right[row.mac] = row.vtep
        addresses.update(address for address in row.addresses if owners.get(address) == row.mac)
        strangers = tuple(address for address in row.addresses if address not in owners)
        stray = row.vtep if row.mac not in fdb else ""
        if stray or strangers:
            gone.append(Row(row.mac, stray, strangers))
    return right, addresses, tuple(gone)


def _count(number: int) -> str:
    return f"{number} row{'s' if number > 1 else ''}"
