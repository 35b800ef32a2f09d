"""A seeded soak: a dozen clients of networks and of sandboxes, thousands of operations, the daemon killed again and
again; it ends in equality.

TOWLINE_SOAK_SEED repeats a run's choices (the interleaving is the machine's), TOWLINE_SOAK_OPERATIONS its length.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.daemon import Daemon, fresh_daemon
from tests.support.equality import assert_equal, networks
from tests.support.polling import eventually
from tests.support.soak import Client
from tests.support.soak_boxes import BoxClient

CLIENTS, BOX_CLIENTS = 8, 4
SEED = int(os.environ.get("TOWLINE_SOAK_SEED") or secrets.randbelow(1_000_000))
OPERATIONS = int(os.environ.get("TOWLINE_SOAK_OPERATIONS") or 2000)
KILLS_EVERY = (150, 250)  # operations


class Soak:
    """Counts operations; kills and restarts the daemon at random counts."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._random = random.Random(SEED)
        self._up = threading.Event()
        self._up.set()
        self._count = 0
        self._failed = False
        self._counted = threading.Condition()
        self.clients = [Client(daemon, number, SEED, self._up.wait) for number in range(CLIENTS)]
        self.box_clients = [BoxClient(daemon, number, SEED, self._up.wait) for number in range(BOX_CLIENTS)]
        self.kills = 0
        self.steps = Counter[str]()

    def run(self) -> None:
        for client in self.box_clients:
            client.prepare()
        with ThreadPoolExecutor(CLIENTS + BOX_CLIENTS) as pool:
            running = [pool.submit(self._work, client) for client in (*self.clients, *self.box_clients)]
            due = self._random.randint(*KILLS_EVERY)
            while self._reached(due):
                self._kill()
                due += self._random.randint(*KILLS_EVERY)
            for one in running:
                one.result()

    def _reached(self, due: int) -> bool:
        with self._counted:
            self._counted.wait_for(lambda: self._failed or self._count >= min(due, OPERATIONS))
            return not self._failed and self._count < OPERATIONS

    def _kill(self) -> None:
        self._up.clear()
        self._daemon.kill()
        self.kills += 1
        try:
            self._daemon.start()
        finally:
            self._up.set()

    def _work(self, client: Client | BoxClient) -> None:
        try:
            while self._next():
                client.step()
                self.steps[type(client).__name__] += 1
        except BaseException:
            with self._counted:
                self._failed = True
                self._counted.notify_all()
            raise

    def _next(self) -> bool:
        with self._counted:
            self._count += 1
            self._counted.notify_all()
            return not self._failed and self._count <= OPERATIONS


@pytest.mark.timeout(OPERATIONS // 10 + 60)
def test_soak_ends_in_equality() -> None:
    sys.stdout.write(f"TOWLINE_SOAK_SEED={SEED} TOWLINE_SOAK_OPERATIONS={OPERATIONS}\n")
    with fresh_daemon("--default-address-pool", "base=10.0.0.0/10,size=24") as daemon:
        daemon.start()
        soak = Soak(daemon)
        soak.run()
        check(daemon, soak)
        daemon.kill()
        daemon.start()
        check(daemon, soak)
        cuts = [sum(client.cuts for client in some) for some in (soak.clients, soak.box_clients)]
        sys.stdout.write(f"{dict(soak.steps)}, {soak.kills} kills, requests cut off: {cuts[0]} and {cuts[1]}\n")
        assert soak.kills >= OPERATIONS // KILLS_EVERY[1] - 1


def check(daemon: Daemon, soak: Soak) -> None:
    """Store and kernel agree, and what was acknowledged is what there is."""
    eventually(lambda: assert_equal(daemon), within=20)
    acknowledged = {name: network_id for client in soak.clients for name, network_id in client.known.items()}
    there = {name: network["Id"] for name, network in networks(daemon).items() if name.startswith("c")}
    assert there == acknowledged
    for client in soak.box_clients:
        client.check()
