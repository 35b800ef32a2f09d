"""The time between a command's start and its end, as its parent lives it: signals on, output away, zombies reaped."""

from __future__ import annotations

import os
import select
import time

from towline.runtime.child import Child
from towline.runtime.record import write_exit
from towline.runtime.signals import signal
from towline.runtime.sweep import hold_mounts, reap, sweep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from towline.runtime.output import Stream

_CHUNK = 65536
_TERMINAL = frozenset({signal.SIGINT, signal.SIGQUIT})
_OURS = frozenset(
    {signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT}
    | {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
    | {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS}
)
_FROM_KERNEL = 0x80  # si_code SI_KERNEL: a key was pressed


def forwarded() -> set[int]:
    """Signals that are passed on to the command: all that can be, except job control and what is the parent's own
    mishap. One that is ignored from the start (nohup) is ignored by the command too, without us."""
    return {n for n in signal.valid_signals() - _OURS if signal.getsignal(n) != signal.SIG_IGN}


class Run:
    """One started command: from `go` to its exit record."""

    def __init__(self, child: Child, state: str) -> None:
        self._child = child
        self._state = state
        self._mounts = hold_mounts(child.pid)
        self._began = time.time_ns()

    def detached(self, streams: dict[int, Stream]) -> int:
        """Pump the pipes (keys, non-blocking) to the log until the command has ended and nothing it left behind lives;
        the exit code."""
        status = _pump(self._child.pid, streams)
        self._sweep()
        for fd, stream in streams.items():
            while data := _read(fd):
                stream.feed(data)
            stream.end()
        return self.ended(*outcome(status))

    def foreground(self) -> int:
        """`accompany` the command until nothing it left behind lives; the exit code."""
        status = accompany(self._child.pid)
        self._sweep()
        return self.ended(*outcome(status))

    def _sweep(self) -> None:
        sweep(0 if self._mounts is None else os.fstat(self._mounts).st_ino)
        if self._mounts is not None:
            os.close(self._mounts)
            self._mounts = None

    def ended(self, code: int, number: int = 0) -> int:
        """Write the exit record (number: the signal that ended it, or 0); answers the code."""
        write_exit(
            self._state,
            self._child.pid,
            self._child.started,
            code=code,
            signal=number,
            began=self._began,
            finished=time.time_ns(),
        )
        return code


def outcome(status: int) -> tuple[int, int]:
    """Exit code (128 + signal if one ended it) and signal (or 0) of a wait status."""
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status), os.WTERMSIG(status)
    return os.WEXITSTATUS(status), 0


def accompany(pid: int) -> int:
    """Wait for a child that shares session, process group and terminal with this process; its wait status. Ctrl-C and
    Ctrl-Z reach both by themselves, so they are not passed on; signals sent to this process are."""
    forward = forwarded()
    waited = forward | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    try:
        while pid not in (ended := reap()):
            info = signal.sigwaitinfo(waited)
            typed = info.si_code == _FROM_KERNEL and info.si_signo in _TERMINAL
            if info.si_signo in forward and not typed:
                os.kill(pid, info.si_signo)
        return ended[pid]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pump(pid: int, streams: dict[int, Stream]) -> int:
    wake = _wakeup((*forwarded(), signal.SIGCHLD))
    poll = select.poll()
    for fd in (wake, *streams):
        poll.register(fd, select.POLLIN)
    ended = reap()
    while pid not in ended:
        for fd, _ in poll.poll():
            if fd == wake:
                numbers = os.read(wake, _CHUNK)
                ended |= reap()
                _forward(numbers, pid if pid not in ended else 0)
            elif data := _read(fd):
                streams[fd].feed(data)
            elif data is not None:
                poll.unregister(fd)
    return ended[pid]


def _forward(numbers: bytes, pid: int) -> None:
    for number in numbers:
        if number != signal.SIGCHLD and pid:
            os.kill(pid, number)


def _read(fd: int) -> bytes | None:
    """A chunk; b"" at the end of the stream, None if there is nothing at the moment."""
    try:
        return os.read(fd, _CHUNK)
    except BlockingIOError:
        return None


def _wakeup(signals: Iterable[int]) -> int:
    """A descriptor on which the numbers of these signals arrive."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in signals:
        signal.signal(number, lambda *_: None)
    return reader
