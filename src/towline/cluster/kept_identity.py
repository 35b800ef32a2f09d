"""Who this node is, in memory and in its files at once."""

from __future__ import annotations

from msgspec.structs import replace

from towline.cluster.identity import Identity, IdentityFiles


class KeptIdentity:
    """value: replaced as a whole by `note`."""

    def __init__(self, value: Identity, files: IdentityFiles) -> None:
        self.value = value
        self._files = files

    def note(self, **changes: object) -> None:
        """Of fields of `Identity`. StoreError if it cannot be written: the value in memory is the new one then."""
        self.value = replace(self.value, **changes)
        self._files.save(self.value)
