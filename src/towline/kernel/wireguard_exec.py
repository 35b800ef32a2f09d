"""The step from the daemon to a wireguard-go of its own: `python -m towline.kernel.wireguard_exec PARENT PROGRAM NAME`.

It ends with the daemon (SIGKILL): its interface goes, so nothing is sent that nobody encrypts.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PDEATHSIG = 1


def main(parent: int, program: str, name: str) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PDEATHSIG, 9, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(255)
    os.umask(0o077)
    try:
        os.execv(program, [program, "-f", name])  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot run {program}: {os.strerror(error.errno or 0).lower()}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
