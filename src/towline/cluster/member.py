"""The etcd of a manager: a child process, started, watched, started again when it dies, and told about."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import secrets
import shutil
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from towline.cluster.etcd_gateway import Gateway
from towline.cluster.member_flags import PROGRESS, Begin, MemberConfig, command_line
from towline.cluster.member_log import MemberLog, removed, why_it_ended
from towline.cluster.member_verbs import NO_LEADER, Members
from towline.model.errors import Conflict, Failure, NotFound, TowlineError, Unavailable

log = logging.getLogger(__name__)

Phase = Literal["stopped", "starting", "running", "failed", "removed"]
PAUSES = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)  # seconds before it is started again
STEADY = 60.0  # seconds of health, after which the pauses begin anew
PATIENCE = 10.0  # seconds that it may take to end
# Seconds between two looks at it: while it starts, while it is a learner or has a problem, and else.
_SOON, _HALF, _LATER = 0.1, 0.5, 5.0
_WAITED = 2.0  # seconds, after which an etcd that lives and does not serve is told about
WAITING = f"etcd does not serve yet: it reads its data, or has {NO_LEADER}: more than half of the managers are needed"
# etcd refuses to run on these without the word.
_ARCHITECTURES = {"aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x", "riscv64": "riscv64"}


class MemberState(msgspec.Struct, frozen=True):
    """running: it answers, though perhaps with a problem (no leader, full). failed: it died and is started again soon;
    removed: the cluster has removed it, so it is not. problem: in words, with the remedy. starts: how often so far."""

    phase: Phase = "stopped"
    problem: str = ""
    starts: int = 0
    learner: bool = False

    @property
    def healthy(self) -> bool:
        return self.phase == "running" and (not self.problem or NO_LEADER not in self.problem)


class Member:
    """told: called in the event loop with each new state. Ends with the daemon, whatever way that ends."""

    def __init__(self, config: MemberConfig, told: Callable[[MemberState], None] = lambda state: None) -> None:
        self.config = config
        self.state = MemberState()
        self._told = told
        self._changed = asyncio.Event()
        self._log = MemberLog(f"{config.root}/etcd.log")
        self._keeper: asyncio.Task[None] | None = None
        self._context: ssl.SSLContext | None = None
        self.pid = 0

    @property
    def has_data(self) -> bool:
        return self.config.has_data

    def gateway(self, answer: float = 6.0) -> Gateway:
        """To this member. The caller closes it. Unavailable if a certificate file cannot be used."""
        if self._context is None:
            self._context = self._tls()
        return Gateway([self.config.client_url], self._context, silence=3 * PROGRESS, answer=answer)

    def renew(self) -> None:
        """The certificate files were replaced: use the new ones from now on, in connections of old gateways too."""
        if self._context is not None:
            self._context.load_cert_chain(self.config.tls.certificate, self.config.tls.key)

    async def start(self, begin: Begin, others: Mapping[str, str] | None = None, within: float = 30.0) -> None:
        """Start it and wait until it serves: a learner when it is fed, another when it has a leader.

        Conflict if there is data for `new` and `join`, or it runs already; NotFound if there is none for the others.
        Unavailable if it is not healthy in time, or cannot be: the text says why; at once if a new one ends by itself.
        It is kept trying then, until `stop`.
        """
        if self._keeper is not None:
            raise Conflict("this manager's etcd runs already")
        if begin in ("new", "join") and self.has_data:
            raise Conflict(f"there is data of an etcd in {self.config.data}: resume with it, or move it away")
        if begin in ("resume", "force-new") and not self.has_data:
            raise NotFound(f"there is no data of an etcd in {self.config.data}")
        try:
            for each in (self.config.root, self.config.data):
                os.makedirs(each, mode=0o700, exist_ok=True)
        except OSError as error:
            raise Failure(f"cannot make {self.config.data}: {(error.strerror or '').lower()}") from error
        gateway = self.gateway(answer=2.0)
        token = secrets.token_hex(8)
        self._keeper = asyncio.create_task(self._keep(gateway, begin, others or {}, token), name="etcd member")
        await self._wait(within, lambda state: state.healthy, hopeful=begin in ("resume", "force-new"))

    async def wait_healthy(self, within: float) -> None:
        """Unavailable if it is not so in time, or was removed."""
        await self._wait(within, lambda state: state.healthy)

    async def wait_promoted(self, within: float) -> None:
        """Until it knows itself that it counts: a learner answers no reads. Unavailable as `wait_healthy`."""
        await self._wait(within, lambda state: state.healthy and not state.learner)

    async def _wait(self, within: float, holds: Callable[[MemberState], bool], *, hopeful: bool = True) -> None:
        """hopeful: one that has died may live after its next start."""
        try:
            async with asyncio.timeout(within):
                while not holds(self.state):
                    if self._keeper is None or self.state.phase == "removed":
                        raise Unavailable(f"this manager's etcd does not run: {self.state.problem or 'it was stopped'}")
                    if self.state.phase == "failed" and not hopeful:
                        raise Unavailable(f"this manager's etcd cannot be started: {self.state.problem}")
                    await self.wait_change()
        except TimeoutError as error:
            why = self.state.problem or ("it is a learner still" if self.state.learner else "it does not answer")
            raise Unavailable(f"this manager's etcd is not ready after {within:.0f} s: {why}") from error

    async def wait_change(self) -> MemberState:
        """The next state."""
        await self._changed.wait()
        return self.state

    async def stop(self) -> None:
        """End it. Its data stays."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        self._tell("stopped")

    async def _keep(self, gateway: Gateway, begin: Begin, others: Mapping[str, str], token: str) -> None:
        failures = 0
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._tell("starting", self.state.problem, starts=self.state.starts + 1)
                began = loop.time()
                healthy = asyncio.Event()
                problem = await self._live(gateway, command_line(self.config, begin, others, token), healthy)
                if healthy.is_set():
                    begin = "resume"
                if removed(problem):
                    self._tell("removed", problem)
                    return
                failures = 0 if healthy.is_set() and loop.time() - began > STEADY else failures + 1
                self._tell("failed", problem)
                await asyncio.sleep(PAUSES[min(failures, len(PAUSES)) - 1])
        except Exception:
            log.exception("the keeper of etcd has failed")
            self._tell("failed", "its keeper has failed: see the daemon's log, and restart the daemon")
        finally:
            await gateway.close()

    async def _live(self, gateway: Gateway, command: list[str], healthy: asyncio.Event) -> str:
        """Until it ends; why it did."""
        program = shutil.which(command[0])
        if program is None:
            return f"there is no {command[0]} on this machine: install the package etcd-server"
        step = [sys.executable, "-m", "towline.cluster.member_exec", str(os.getpid()), f"{self.config.root}/etcd.lock"]
        architecture = _ARCHITECTURES.get(platform.machine())
        self._log.said.clear()
        try:
            process = await asyncio.create_subprocess_exec(
                *step,
                program,
                *command[1:],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd="/",
                # Nothing else: ETCD_* would be settings, and NOTIFY_SOCKET is not for it.
                env={
                    "PATH": os.environ.get("PATH", os.defpath),
                    **({"ETCD_UNSUPPORTED_ARCH": architecture} if architecture else {}),
                },
                start_new_session=True,
            )
        except OSError as error:
            return f"it cannot be started: {(error.strerror or '').lower()}"
        assert process.stderr is not None
        self.pid = process.pid
        lines = asyncio.create_task(self._log.follow(process.stderr))
        looks = asyncio.create_task(self._look(gateway, healthy))
        try:
            code = await process.wait()
            await lines
            return why_it_ended(list(self._log.said), code, self.config.data)
        finally:
            looks.cancel()
            await _end(process)
            self.pid = 0
            await asyncio.gather(lines, looks, return_exceptions=True)

    async def _look(self, gateway: Gateway, healthy: asyncio.Event) -> None:
        members = Members(gateway)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                status = await members.status()
            except TowlineError as error:
                if healthy.is_set():
                    self._tell("running", str(error))
                elif loop.time() - began > _WAITED:
                    self._tell("starting", WAITING)
            else:
                self._tell("running", status.problem, learner=status.is_learner)
                if self.state.healthy:
                    healthy.set()
            quiet = _HALF if self.state.problem or self.state.learner else _LATER
            await asyncio.sleep(quiet if self.state.phase == "running" else _SOON)

    def _tell(self, phase: Phase, problem: str = "", *, learner: bool = False, starts: int = 0) -> None:
        state = MemberState(phase, problem, starts or self.state.starts, learner)
        if state != self.state:
            self.state = state
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
            try:
                self._told(state)
            except Exception:
                log.exception("who is told of etcd's state has failed")

    def _tls(self) -> ssl.SSLContext:
        tls = self.config.tls
        try:
            context = ssl.create_default_context(cafile=tls.ca)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(tls.certificate, tls.key)
        except OSError as error:
            files = f"{tls.ca}, {tls.certificate}, {tls.key}"
            raise Unavailable(
                f"cannot use the certificate files of etcd, {files}: {error.strerror or error}"
            ) from error
        return context


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(PATIENCE):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
