"""The host and null drivers: exactly one network each, nothing in the kernel, no addresses."""

from __future__ import annotations

from typing import Literal

from towline.drivers.contract import Attachment, SkipGateways
from towline.drivers.endpoint import DEFAULT_PREFIX
from towline.model.desired import NOTHING, Desired
from towline.model.endpoint import Endpoint
from towline.model.errors import Forbidden
from towline.model.network import Network
from towline.model.view import View


class SingleDriver:
    scope: Literal["local"] = "local"
    needs_pools = False

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, network: Network) -> SkipGateways:
        return SkipGateways()

    def admit(self, network: Network, view: View) -> Network:
        if any(other.driver == self.name and not other.config_only for other in view.networks()):
            raise Forbidden(f'only one instance of "{self.name}" network is allowed')
        return network

    def desired(self, network: Network) -> Desired:
        return NOTHING

    def attach(self, network: Network, endpoint: Endpoint) -> Attachment | None:
        return None

    def interface_prefix(self, network: Network) -> str:
        return DEFAULT_PREFIX
