"""A node's agent: keeps this node's replica equal to the cluster's word, and the cluster's word of this node's
endpoints equal to what the node has. Whatever is lost on the way is found again by comparison when the link is back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from towline.cluster.claims import Claims
from towline.cluster.contract import Link, Replica, Report, Update
from towline.cluster.copy import ClusterCopy
from towline.cluster.following import Following
from towline.cluster.held_blocks import HeldBlocks
from towline.cluster.pauses import Pauses
from towline.cluster.publisher import Publisher
from towline.cluster.tasks import begin
from towline.model.cluster import Block, Description, Peer, Role
from towline.model.errors import NotFound, TowlineError, Unavailable
from towline.model.secure import SecureKey

log = logging.getLogger(__name__)

_FIRST_WORD = 5.0
"""Seconds that a joining endpoint waits at most until the others on its network are known here."""
_IDLE = 30.0
"""Seconds that a network without endpoints here is followed after somebody asked for it."""


class Agent:
    """clock: nanoseconds since the epoch. describe, secure, problem: what the node says of itself. told: of each update
    of scope "base" with the copy as it was before. beaten: of each answer to a report. others: of the data path
    addresses of all nodes, when they or their keys change. All calls on the event loop."""

    def __init__(
        self,
        node_id: str,
        link: Link,
        replica: Replica,
        *,
        data_path: str,
        describe: Callable[[], Description],
        repairs: Callable[[], int] = lambda: 0,
        secure: Callable[[], tuple[SecureKey, ...]] = tuple,
        problem: Callable[[], str] = lambda: "",
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
        told: Callable[[Update, ClusterCopy], None] = lambda update, before: None,
        beaten: Callable[[Role, tuple[str, ...]], None] = lambda role, managers: None,
        others: Callable[[Collection[str]], Awaitable[None]] | None = None,
    ) -> None:
        self.node_id = node_id
        self.copy = ClusterCopy()
        self.trouble = ""
        self._link = link
        self._replica = replica
        self._data_path = data_path
        self._describe = describe
        self._repairs = repairs
        self._secure = secure
        self._problem = problem
        self._news = asyncio.Event()
        self._clock = clock
        self._monotonic = monotonic
        self._told = told
        self._beaten = beaten
        self._others = others
        self._moved = asyncio.Event()
        self._known = asyncio.Event()
        self._reported = asyncio.Event()
        self._dirty: set[str] = set()
        self._unmatched: set[str] = set()
        self._work = asyncio.Event()
        self._following = Following(node_id, link, replica, differs=self.local_change, trouble=self._note_trouble)
        self._claims = Claims(link, replica)
        self._given_up = False
        self._publisher = Publisher(link, replica, self._following, self._claims)
        self._blocks = HeldBlocks(link, replica, self._claims, publish=self._publisher.publish, later=self._work.set)
        self._wanted: dict[str, float] = {}
        self._heard = monotonic()
        self._ttl = 0.0
        self._compared = 0
        self._tasks: list[asyncio.Task[None]] = []

    # life

    def start(self) -> None:
        for job in (self._following.run, self._follow_base, self._report, self._settle, self._claims.run):
            self._tasks.append(begin(self._always(job), job.__name__))

    async def close(self) -> None:
        """Stops following. Networks and their traffic stay as they are."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._following.close()

    async def known(self, seconds: float) -> bool:
        """Whether the cluster's records have arrived and a manager has taken a report; waits for both that long."""
        try:
            async with asyncio.timeout(seconds):
                await self._known.wait()
                await self._reported.wait()
        except TimeoutError:
            return False
        return True

    @property
    def connected(self) -> bool:
        return self._known.is_set() and not self.trouble

    async def seen(self, holds: Callable[[ClusterCopy], bool], seconds: float) -> bool:
        """Whether this node's copy comes to hold that in time: then its replica and its events do too."""
        try:
            async with asyncio.timeout(seconds):
                while not holds(self.copy):
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    @property
    def informed(self) -> bool:
        """The cluster's records have arrived since the start."""
        return self._known.is_set()

    @property
    def silence(self) -> float | None:
        """Seconds since a manager took a report, None if none has."""
        return self._monotonic() - self._heard if self._ttl else None

    @property
    def fenced(self) -> bool:
        """The managers have not heard of this node for so long that they may give its blocks to others."""
        return bool(self._ttl) and self._monotonic() - self._heard > self._ttl

    # what control tells and asks

    def report_soon(self) -> None:
        """What this node says of itself is not what it was."""
        self._news.set()

    def local_change(self, network_id: str) -> None:
        """An endpoint of this node on a global network came, changed or went."""
        self._dirty.add(network_id)
        self._work.set()

    async def prepare(self, network_id: str) -> None:
        """Before the first endpoint joins: know the others on the network. Goes on without, after a while."""
        self._wanted[network_id] = self._monotonic() + _IDLE
        follower = self._following.follow(network_id)
        try:
            async with asyncio.timeout(_FIRST_WORD):
                await follower.caught_up.wait()
        except TimeoutError:
            log.warning("joining before the network's endpoints are known", extra={"fields": {"network": network_id}})

    async def lease(self, network_id: str, subnet: str, address: str = "") -> Block:
        """A block for this node, known here too. Unavailable, Conflict, NotFound as `Link.lease_block`."""
        return await self._blocks.lease(network_id, subnet, address)

    async def give_back(self, block: Block) -> None:
        """If no manager answers, it is returned later."""
        await self._blocks.give_back(block)

    # jobs

    async def _always(self, job: Callable[[], Awaitable[None]]) -> None:
        """What nobody expected must not leave the node deaf or silent."""
        pauses = Pauses()
        while True:
            try:
                await job()
            except Exception as error:
                self.trouble = f"the agent has failed: {error!r}"
                log.exception("a job of the agent has failed: it begins anew")
            await pauses.wait()

    async def _follow_base(self) -> None:
        """Applies what the stream says of scope "base"."""
        pauses = Pauses()
        while True:
            update = await self._following.base.take()
            try:
                await self._take(update)
                pauses.reset()
            except TowlineError as error:
                self.trouble = str(error)
                if not isinstance(error, Unavailable):
                    log.error("cannot follow the cluster", extra={"fields": {"error": str(error)}})
                await pauses.wait()
                self._following.begin_base()
            except Exception:
                self._following.begin_base()
                raise

    def _note_trouble(self, why: str) -> None:
        self.trouble = why

    async def _take(self, update: Update) -> None:
        gone = set(update.gone_networks)
        if update.snapshot:
            told = {network.id for network in update.networks}
            gone |= {network.id for network in self._replica.networks()} - told
        if update.networks or gone:
            await self._replica.set_networks(update.networks, sorted(gone))
        await self._take_services(update)
        self._told(update, self.copy)
        self.copy.apply(update)
        if update.snapshot or update.alive or update.gone_alive or update.nodes or update.gone_nodes:
            self._replica.set_down(self.copy.down - {self.node_id})
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        if self._others is not None and (update.snapshot or update.nodes or update.gone_nodes):
            await self._others({node.data_path for node in self.copy.nodes.values() if node.data_path})
        if update.snapshot:
            self.trouble = ""
            await self._compare()
            self._known.set()
        elif gone:
            self._unmatched |= gone
            self._work.set()

    async def _take_services(self, update: Update) -> None:
        gone = set(update.gone_services)
        if update.snapshot:
            gone |= {service.id for service in self._replica.services()} - {service.id for service in update.services}
        if update.services or gone:
            await self._replica.set_services(update.services, sorted(gone))

    async def _compare(self) -> None:
        """After a gap: blocks, and what is published of this node."""
        await self._claims.compare()
        published = await self._link.published()
        by_network: dict[str, list[Peer]] = {}
        for peer in published:
            by_network.setdefault(peer.network, []).append(peer)
        for network_id, peers in by_network.items():
            if not self._replica.is_present(network_id):
                await self._link.publish(network_id, [], [peer.id for peer in peers])
        self._compared = self.copy.cluster.era if self.copy.cluster is not None else 0
        self._dirty |= self._replica.present()
        self._unmatched |= self._following.networks.keys()
        self._work.set()

    async def _report(self) -> None:
        """Regular words to a manager; what it answers is when the next is due."""
        pauses, described, told = Pauses(), False, self._secure()
        while True:
            self._news.clear()
            secure = self._secure()
            known = self.copy.nodes.get(self.node_id)
            if known is not None and known.secure != secure:
                told = known.secure  # or somebody else has changed it
            report = Report(
                revision=self.copy.revision,
                clock=self._clock(),
                repairs=self._repairs(),
                problem=self.trouble or self._problem(),
                description=None if described else self._describe(),
                data_path="" if described else self._data_path,
                secure=None if described and secure == told else secure,
                era=self._compared,
            )
            sent = self._monotonic()
            try:
                beat = await self._link.beat(report)
            except TowlineError as error:
                log.warning("no manager takes this node's report", extra={"fields": {"error": str(error)}})
                described = False
                await pauses.wait()
                continue
            pauses.reset()
            if self.fenced:
                self._given_up = True
                self._work.set()
            described, told, self._heard, self._ttl = True, secure, sent, beat.ttl
            self._reported.set()
            self._beaten(beat.role, beat.managers)
            with suppress(TimeoutError):
                async with asyncio.timeout(beat.period):
                    await self._news.wait()

    async def _compare_again(self) -> None:
        """This node could not report for so long that it may have lost all that it has, whether its stream of updates
        ended meanwhile or not."""
        try:
            await self._compare()
            self._given_up = False
        except TowlineError as error:
            log.info("compared with the managers later", extra={"fields": {"why": str(error)}})

    async def _settle(self) -> None:
        """Followers for the networks that are present here; publishes what changed."""
        pauses = Pauses()
        await self._known.wait()
        while True:
            await self._wait_for_work()
            self._work.clear()
            if self._given_up:
                await self._compare_again()
            dirty, self._dirty = self._dirty, set()
            unmatched, self._unmatched = self._unmatched, set()
            await self._match_followers(dirty | unmatched)
            for network_id in sorted(dirty):
                try:
                    await self._publisher.publish(network_id)
                    pauses.reset()
                except NotFound:
                    log.info("the network is gone", extra={"fields": {"network": network_id}})
                except TowlineError as error:
                    log.warning("not published yet", extra={"fields": {"network": network_id, "why": str(error)}})
                    self._dirty.add(network_id)
            if not await self._blocks.return_all() or self._dirty or self._given_up:
                await pauses.wait()
                self._work.set()

    async def _wait_for_work(self) -> None:
        """Until something changed, or a network that nobody joined need not be followed any more."""
        due = min(self._wanted.values(), default=None)
        left = None if due is None else max(0.0, due - self._monotonic())
        try:
            async with asyncio.timeout(left):
                await self._work.wait()
        except TimeoutError:
            return

    async def _match_followers(self, changed: set[str]) -> None:
        """changed: networks that came to be present here or not, or are gone. Others are not looked at."""
        now = self._monotonic()
        expired = {key for key, due in self._wanted.items() if due <= now or not self._replica.knows(key)}
        for network_id in expired:
            del self._wanted[network_id]
        for network_id in changed | expired:
            if self._replica.is_present(network_id) or network_id in self._wanted:
                self._following.follow(network_id)
            else:
                await self._following.leave(network_id)

    async def publish_now(self, network_id: str) -> None:
        """Do not wait for the next settling: whoever asks next is to see what is here. As `Link.publish`."""
        await self._publisher.publish(network_id)
