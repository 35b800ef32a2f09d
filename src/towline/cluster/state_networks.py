"""Global networks, and what they hold: names, VXLAN ids, subnets. Answers what `plan.global_network` asks."""

from __future__ import annotations

from collections.abc import Iterable

from towline.ipam.gaps import Gaps
from towline.ipam.prefix import Prefix, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.cluster import FIRST_VNI
from towline.model.network import Network
from towline.plan.global_network import LAST_VNI, vnis_of


class NetworkIndex:
    """Lookups and changes are O(1) or O(log n)."""

    def __init__(self) -> None:
        self.subnets = PrefixSet()
        self._by_id: dict[str, Network] = {}
        self._names: dict[str, str] = {}
        self._vnis: dict[int, str] = {}
        self._free_vnis = Gaps(LAST_VNI)
        self._free_vnis.fill(0, FIRST_VNI - 1)
        self._owners: dict[Prefix, str] = {}
        self._ingress: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def get(self, network_id: str) -> Network | None:
        return self._by_id.get(network_id)

    def all(self) -> list[Network]:
        """A copy; in the order in which they became known."""
        return list(self._by_id.values())

    def named(self, name: str) -> Network | None:
        """Case-insensitive, as names of global networks are unique."""
        return self._by_id.get(self._names.get(name.lower(), ""))

    def ingress(self) -> Network | None:
        return self._by_id.get(next(iter(self._ingress), ""))

    def with_vni(self, vni: int) -> Network | None:
        return self._by_id.get(self._vnis.get(vni, ""))

    def with_subnet(self, subnet: Prefix) -> Network | None:
        """Whose subnet is exactly this one."""
        return self._by_id.get(self._owners.get(subnet, ""))

    def free_vni(self, after: int) -> int | None:
        """The lowest free one above `after`, else above the first; None if all are taken."""
        found = self._free_vnis.first_block(max(after + 1, FIRST_VNI), LAST_VNI, 0)
        return found if found is not None else self._free_vnis.first_block(FIRST_VNI, LAST_VNI, 0)

    def put(self, network: Network) -> None:
        vnis, subnets = vnis_of(network), list(_subnets(network))
        old = self._by_id.get(network.id)
        if old is not None:
            self._forget(old)
        self._by_id[network.id] = network
        self._names[network.name.lower()] = network.id
        if network.ingress:
            self._ingress[network.id] = None
        for vni in vnis:
            self._vnis[vni] = network.id
            self._free_vnis.fill(vni, vni)
        for subnet in subnets:
            self.subnets.add(subnet)
            self._owners[subnet] = network.id

    def discard(self, network_id: str) -> None:
        old = self._by_id.pop(network_id, None)
        if old is not None:
            self._forget(old)

    def _forget(self, old: Network) -> None:
        if self._names.get(old.name.lower()) == old.id:
            del self._names[old.name.lower()]
        self._ingress.pop(old.id, None)
        for vni in vnis_of(old):
            if self._vnis.get(vni) == old.id:
                del self._vnis[vni]
                if vni >= FIRST_VNI:
                    self._free_vnis.clear(vni, vni)
        for subnet in _subnets(old):
            self.subnets.discard(subnet)
            if self._owners.get(subnet) == old.id:
                del self._owners[subnet]


def _subnets(network: Network) -> Iterable[Prefix]:
    return (parse_prefix(pool.subnet) for pool in network.pools)
