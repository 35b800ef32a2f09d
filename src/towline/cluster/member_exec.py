"""The step from the daemon to its etcd: `python -m towline.cluster.member_exec PARENT LOCK PROGRAM [ARGUMENT...]`.

etcd ends with the daemon (SIGKILL; it is made for that), and two never run on the same data: a new one waits here until
the old one, which holds the lock as long as it lives, is gone.
"""

from __future__ import annotations

import fcntl
import os
import sys

from towline.runtime.enter import die_with


def main(parent: int, lock: str, command: list[str]) -> None:
    die_with(parent)
    os.umask(0o077)
    fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.set_inheritable(fd, True)
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {os.strerror(error.errno or 0).lower()}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
