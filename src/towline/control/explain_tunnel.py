"""The part of an endpoint's path that leads to other hosts: the tunnel, and its rows. Runs in the writer thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from towline.control.compare_tunnels import compare_tunnel
from towline.kernel.contract import Kernel
from towline.model.desired import Row, Vxlan
from towline.model.errors import KernelError
from towline.model.info import PathStep
from towline.model.network import Network
from towline.model.view import View
from towline.plan.rows import rows_of

_SHOWN = 8
"""Endpoints that are named; of the others only how many there are."""


def tunnel_steps(network: Network, tunnel: Vxlan, view: View, kernel: Kernel) -> Iterator[PathStep]:
    """The device, and which endpoints elsewhere it knows behind which host."""
    link, bridge = kernel.links.find(tunnel.name), kernel.links.find(tunnel.bridge)
    difference = compare_tunnel(network, tunnel, (), link, bridge)
    way = "inside WireGuard" if tunnel.secure else f"from {tunnel.local}"
    text = f"{tunnel.name}, VXLAN id {tunnel.vni}, {way} to UDP port {tunnel.port} of other hosts"
    yield PathStep("tunnel", text, difference.finding.problem if difference else "")
    peers = list(view.peers_of(network.id))
    names = {peer.mac.lower(): peer.name or peer.id[:12] for peer in peers}
    wanted = rows_of(peers, tunnel.local, tunnel.secure)
    yield PathStep("other hosts", _listed(wanted, names), _problem(wanted, names, kernel, tunnel.name))


def _listed(wanted: Sequence[Row], names: dict[str, str]) -> str:
    words = [f"{names[row.mac]} ({', '.join(row.addresses)}) at {row.vtep}" for row in wanted[:_SHOWN]]
    more = [f"{len(wanted) - _SHOWN} more"] if len(wanted) > _SHOWN else []
    return "; ".join([*words, *more]) or "no endpoint is there"


def _is_held(row: Row, held: Mapping[tuple[str, str], set[str]]) -> bool:
    addresses = held.get((row.mac, row.vtep))
    return addresses is not None and addresses.issuperset(row.addresses)


def _problem(wanted: Sequence[Row], names: dict[str, str], kernel: Kernel, tunnel: str) -> str:
    try:
        held = {(row.mac, row.vtep): set(row.addresses) for row in kernel.tunnels.rows(tunnel)}
    except KernelError as error:
        return str(error)
    lost = [names[row.mac] for row in wanted if not _is_held(row, held)]
    more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
    return f"this host's kernel has no right row for {', '.join(lost[:_SHOWN])}{more}" if lost else ""
