"""Where a node keeps its WireGuard keys: a file beside its certificate, which goes with the node's place in the
cluster."""

from __future__ import annotations

import msgspec

from towline.cluster.identity import IdentityFiles
from towline.model.errors import StoreCorrupt, StoreError
from towline.model.secure import MAX_KEYS, HeldKey, is_key

_NAME = "secure.json"


class SecureFile:
    """`model.secure.KeyFile`, 0600."""

    def __init__(self, files: IdentityFiles) -> None:
        self._files = files
        self._path = files.root / _NAME

    def load(self) -> tuple[HeldKey, ...]:
        try:
            held = msgspec.json.decode(self._path.read_bytes(), type=tuple[HeldKey, ...])
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise StoreError(f"{self._path}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise StoreCorrupt(f"{self._path}: {error}") from None
        from towline.kernel.wireguard_keys import public_key

        keys = all(is_key(key.private) and public_key(key.private) == key.public for key in held)
        if len(held) > MAX_KEYS or not keys:
            raise StoreCorrupt(f"{self._path}: it holds what is no key")
        return held

    def save(self, held: tuple[HeldKey, ...]) -> None:
        self._files.replace(_NAME, msgspec.json.encode(held).decode())
