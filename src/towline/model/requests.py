"""What clients ask for, as typed values. The API edge builds them; below it nobody sees JSON."""

from __future__ import annotations

import msgspec

from towline.model.endpoint import EndpointConfig
from towline.model.masked import Masked
from towline.model.sandbox import DnsConfig, PortBinding, Process
from towline.model.service import ServicePort

# Driver options by which a family is switched where the request itself does not say (API before 1.48).
ENABLE_IPV4 = "com.docker.network.enable_ipv4"
ENABLE_IPV6 = "com.docker.network.enable_ipv6"


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


class CreateSandbox(msgspec.Struct, frozen=True):
    """POST /towline/v1/sandboxes, and what `towline run` and `towline attach` send.

    networks: network term -> what is asked of the endpoint there, in order; the first is the sandbox's mode. Empty: the
    network "bridge". "host" and "none" stand alone. netns or process: join a namespace that exists already (origin
    "attach"); neither: one of our own. service: name or id of the one that it is a member of; it is on the networks of
    that one too.
    """

    name: str = ""
    hostname: str = ""
    networks: dict[str, EndpointConfig] = {}
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    directory: str = "/"
    restart: str = "no"
    auto_remove: bool = False
    dns: DnsConfig = DnsConfig()
    extra_hosts: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    ports: tuple[PortBinding, ...] = ()
    exposed: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    netns: str = ""
    process: Process | None = None
    service: str = ""


class CreateService(msgspec.Struct, frozen=True):
    """networks: as the client names them; ids where a manager is asked. mode "": vip."""

    name: str
    mode: str = ""
    networks: tuple[str, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    labels: dict[str, str] = {}


class UpdateService(msgspec.Struct, frozen=True):
    """None: as it is. version: the service's index that the client saw, 0 if it does not care."""

    version: int = 0
    mode: str | None = None
    networks: tuple[str, ...] | None = None
    ports: tuple[ServicePort, ...] | None = None
    labels: dict[str, str] | None = None


class StartedSandbox(msgspec.Struct, frozen=True):
    """Where a process must go to live in the sandbox: its namespace, its files for /etc, and what of the daemon's it is
    not to see (absolute paths)."""

    id: str
    netns: str
    hosts: str
    resolv_conf: str
    hostname: str
    hidden: tuple[str, ...] = ()


class InitSwarm(msgspec.Struct, frozen=True):
    """POST /swarm/init, as sent: addresses are unchecked text, pools are CIDR. spec: Docker's Spec, as sent.

    subnet_size, data_path_port: 0 for the default.
    """

    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    pools: tuple[str, ...] = ()
    subnet_size: int = 0
    force_new_cluster: bool = False
    autolock: bool = False
    availability: str = ""
    spec: dict[str, object] = {}


class JoinSwarm(Masked, frozen=True):
    """POST /swarm/join, as sent: addresses are unchecked text."""

    secret = frozenset({"token"})

    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    remote_addrs: tuple[str, ...] = ()
    token: str = ""
    availability: str = ""


class RestoreCluster(msgspec.Struct, frozen=True):
    """Addresses as of InitSwarm, for a node that is in no cluster. force: also on a manager that works."""

    listen_addr: str = "0.0.0.0:2377"
    advertise_addr: str = ""
    data_path_addr: str = ""
    force: bool = False


class UpdateSwarm(msgspec.Struct, frozen=True):
    """POST /swarm/update. version: the cluster's index that the client saw. spec: Docker's Spec, as sent."""

    version: int
    spec: dict[str, object]
    rotate_worker_token: bool = False
    rotate_manager_token: bool = False
    rotate_unlock_key: bool = False
