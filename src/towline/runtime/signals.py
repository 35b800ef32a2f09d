"""The signal module without its enums: they cost every shim 6 ms at its start and 0.8 MB for its life.

The names and calls are the same (the standard module only wraps these); numbers are plain integers.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal as signal
else:
    import _signal as signal

__all__ = ["signal"]
