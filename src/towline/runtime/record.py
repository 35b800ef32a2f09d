"""What is on disk about a running or ended process: `process` and `exit` in the sandbox's run directory, JSON each.

Written by the shim (by hand: the json module costs a megabyte), read by the daemon. Both replace atomically; the
directory is on a tmpfs, nothing needs to survive the machine.
"""

from __future__ import annotations

import os

from towline.runtime.identity import boot_id, started

PROCESS, EXIT = "process", "exit"


def write_process(directory: str, pid: int, start: int) -> None:
    """The command's process, and the calling one as its shim."""
    shim = os.getpid()
    _write(
        os.path.join(directory, PROCESS),
        f'{{"boot": "{boot_id()}", "shim": {{"pid": {shim}, "started": {started(shim)}}}, '
        f'"command": {{"pid": {pid}, "started": {start}}}}}\n',
    )


def write_exit(directory: str, pid: int, start: int, *, code: int, signal: int, began: int, finished: int) -> None:
    """code: 128 + signal if a signal ended it. signal: 0 if none did. began, finished: nanoseconds since the epoch."""
    _write(
        os.path.join(directory, EXIT),
        f'{{"pid": {pid}, "started": {start}, "code": {code}, "signal": {signal}, '
        f'"began": {began}, "finished": {finished}}}\n',
    )


def clear(directory: str) -> None:
    """Forget an earlier run."""
    for name in (PROCESS, EXIT):
        try:
            os.unlink(os.path.join(directory, name))
        except FileNotFoundError:
            continue


def _write(path: str, text: str) -> None:
    """Nothing if the directory is gone: the sandbox was removed meanwhile, nobody asks any more."""
    draft = f"{path}.new"
    try:
        with open(draft, "w", encoding="ascii") as file:
            file.write(text)
        os.rename(draft, path)
    except FileNotFoundError:
        return
