"""This node's WireGuard keys, and how one takes the place of another without a packet lost.

A new key is made known beside the one in use, with an interface of its own. When all nodes that are sent to have shaken
hands with it, it becomes the one in use. When nothing arrives at the old one any more, that goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping

from msgspec.structs import replace

from towline.control.secure_plan import Plan, confirmed, is_retiring
from towline.kernel.wireguard_contract import WgState
from towline.model.errors import Failure, TowlineError, Unavailable
from towline.model.secure import HeldKey, KeyFile, SecureKey

log = logging.getLogger(__name__)

FIRST_PORT, PORTS = 51820, 16
"""UDP ports that interfaces take: the first of these that is free."""


class SecureKeys:
    """held: the one in use first. Changes are in the file before they have an effect. rotation: seconds that a key is
    in use. grace: seconds of silence, after which an old one goes."""

    def __init__(
        self,
        file: KeyFile,
        changed: Callable[[], None],
        *,
        rotation: float,
        grace: float,
        clock: Callable[[], float],
    ) -> None:
        self._file = file
        self._changed = changed
        self._rotation = rotation
        self._grace = grace
        self._clock = clock
        self._asked = False
        self._heard: tuple[int, ...] = ()
        self._quiet_since = clock()
        self.held: tuple[HeldKey, ...] = ()
        try:
            self.held = file.load()
        except TowlineError as error:
            log.error(
                "this node's encryption keys cannot be read: it makes new ones", extra={"fields": {"error": str(error)}}
            )

    def published(self) -> tuple[SecureKey, ...]:
        return tuple(SecureKey(key.public, key.port) for key in self.held)

    def begin(self) -> None:
        """The first key. StoreError."""
        self._save((self._new(),))

    def rotate(self) -> None:
        """Unavailable while a change goes on."""
        if len(self.held) > 1:
            raise Unavailable("this node's encryption key is being changed already")
        self._asked = True

    def idle(self) -> None:
        """Nobody is sent to: a change needs no steps."""
        if len(self.held) > 1 or (self.held and self._is_due()):
            self._save((self._new() if self._is_due() else max(self.held, key=lambda key: key.made),))

    def move(self, key: HeldKey) -> HeldKey:
        """Its port is taken by somebody else: the next one. Failure if all are."""
        ports = {each.port for each in self.held}
        port = next((p for p in range(key.port + 1, FIRST_PORT + PORTS) if p not in ports), 0)
        if not port:
            raise Failure(
                f"UDP ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are taken: free one for encrypted networks"
            )
        moved = replace(key, port=port)
        self._save(tuple(moved if each == key else each for each in self.held))
        return moved

    def step(self, plan: Plan, states: Mapping[str, WgState], *, excused: Collection[str]) -> bool:
        """One step of a change, if it is time; whether `held` is another now. excused: public keys of others."""
        if len(self.held) == 1:
            if self._is_due():
                self._save((*self.held, self._new()))
                return True
            return False
        current, other = self.held
        state = states.get(other.name)
        if state is None:
            return False
        if is_retiring(self.held, other):
            return self._retire(current, state)
        if confirmed(plan.peers[other.name], state, excused):
            self._save((other, current))
            self._heard, self._quiet_since = (), self._clock()
            log.info("a new encryption key is in use")
            return True
        return False

    def _retire(self, current: HeldKey, old: WgState) -> bool:
        heard = tuple(sorted(each.rx for each in old.peers))
        if heard != self._heard:
            self._heard, self._quiet_since = heard, self._clock()
        if self._clock() - self._quiet_since < self._grace:
            return False
        self._save((current,))
        return True

    def _is_due(self) -> bool:
        return self._asked or self._clock() - self.held[0].made >= self._rotation

    def _new(self) -> HeldKey:
        from towline.kernel.wireguard_keys import new_private_key, public_key

        private = new_private_key()
        ports = {key.port for key in self.held}
        port = next(p for p in range(FIRST_PORT, FIRST_PORT + PORTS) if p not in ports)
        newest = max((key.made for key in self.held), default=0.0)
        return HeldKey(private, public_key(private), port, max(self._clock(), newest + 1))

    def _save(self, held: tuple[HeldKey, ...]) -> None:
        self._file.save(held)
        self.held, self._asked = held, False
        self._changed()
