"""What a node says of itself to its cluster."""

from __future__ import annotations

import os
import platform
import socket

from towline import __version__
from towline.model.cluster import Description


def describe(drivers: tuple[str, ...]) -> Description:
    """As `docker node inspect` shows it. drivers: names of the network drivers."""
    return Description(
        hostname=socket.gethostname(),
        architecture=platform.machine(),
        os="linux",
        nano_cpus=(os.cpu_count() or 1) * 10**9,
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        engine_version=__version__,
        network_drivers=drivers,
    )
