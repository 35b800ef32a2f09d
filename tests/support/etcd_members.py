"""Managers' etcds for a test: certificates, and members on addresses of the loopback, each with its own folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.support.etcd_process import free_ports
from tests.support.needs import need_tool
from towline.cluster.etcd import EtcdClient
from towline.cluster.member import Member
from towline.cluster.member_flags import MemberConfig, Tls
from towline.cluster.member_verbs import Members
from towline.cluster.pki import issue_member, new_root


class Managers:
    """`make` one after the other; `ctx` of `managers` stops all."""

    def __init__(self, root: Path) -> None:
        need_tool("etcd")
        self._root = root
        self._ca = new_root("etcd")
        self._peer, self._client = free_ports(2)
        self._open: list[EtcdClient] = []
        self.all: list[Member] = []

    def certificate(self, folder: Path, address: str, *, foreign: bool = False) -> Tls:
        """foreign: of an authority that these managers do not know."""
        folder.mkdir(mode=0o700, exist_ok=True)
        issued = issue_member(new_root() if foreign else self._ca, "node", [address, "127.0.0.1"], seconds=3600)
        files = {"ca.pem": self._ca.certificate, "etcd.pem": issued.certificate, "etcd.key": issued.key}
        for name, text in files.items():
            (folder / name).write_text(text)
        return Tls(*(str(folder / name) for name in files))

    def make(self, number: int, folder: Path | None = None, quota: int = 1 << 30) -> Member:
        address = f"127.0.0.{number}"
        root = folder or self._root / f"m{number}"
        root.mkdir(mode=0o700, exist_ok=True)
        tls = self.certificate(self._root / f"tls{number}", address)
        # Clients are on 127.0.0.1 always, so that port differs.
        client = self._client if number == 1 else free_ports(1)[0]
        config = MemberConfig(f"node{number}", str(root), address, self._peer, client, tls, quota)
        member = Member(config)
        self.all.append(member)
        return member

    def again(self, member: Member) -> Member:
        """As a restarted daemon makes it."""
        made = Member(member.config)
        self.all.append(made)
        return made

    def client(self, member: Member) -> EtcdClient:
        client = EtcdClient(member.gateway())
        self._open.append(client)
        return client

    def verbs(self, member: Member) -> Members:
        gateway = member.gateway()
        self._open.append(EtcdClient(gateway))
        return Members(gateway)

    async def join(self, member: Member, by: Member) -> int:
        """As a learner, and then for good; its id."""
        verbs = self.verbs(by)
        added = await verbs.add(member.config.peer_url)
        await member.start("join", added.others)
        assert member.state.learner
        await verbs.promote(added.id)
        await member.wait_promoted(20)
        return added.id

    async def close(self) -> None:
        for client in self._open:
            await client.close()
        for member in self.all:
            await member.stop()


@asynccontextmanager
async def managers(root: Path) -> AsyncIterator[Managers]:
    made = Managers(root)
    try:
        yield made
    finally:
        await made.close()
