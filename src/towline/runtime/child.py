"""The command's process from fork to exec: it enters the sandbox, says so, and waits for the word to go.

Two pipes. `tell`, child to parent: "+" when it is inside; "-<errno> <step>" when a step failed; closed by a successful
exec. `go`, parent to child: "!" starts the command, end of file ends the child.
"""

from __future__ import annotations

import errno
import os

from towline.runtime.enter import Refused, die_with
from towline.runtime.identity import started
from towline.runtime.launch import Launch
from towline.runtime.signals import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

GO = b"!"
NOT_FOUND, NOT_STARTED = 127, 126


class Child:
    """The parent's side. pid is unreaped while this is used, so it means the child and nobody else."""

    __slots__ = ("_go", "_tell", "pid", "started")

    def __init__(self, pid: int, tell: int, go: int) -> None:
        self.pid = pid
        self.started = started(pid) or 0
        self._tell = tell
        self._go = go

    def ready(self) -> None:
        """Wait until it is inside the sandbox. Raises Refused; then it is gone and reaped."""
        if os.read(self._tell, 1) == b"+":
            return
        refused = self._refusal() or Refused(0, "enter the sandbox: its process was killed")
        self.abandon()
        raise refused

    def go(self) -> Refused | None:
        """Start the command. None once it is executed, or was killed before; else the step that failed (the child is
        then ending)."""
        say(self._go, GO)
        os.close(self._go)
        failed = os.read(self._tell, 1) == b"-"
        refused = self._refusal() if failed else None
        os.close(self._tell)
        return refused

    def abandon(self) -> None:
        """End it before `go`, and reap it."""
        os.close(self._go)
        os.close(self._tell)
        os.waitpid(self.pid, 0)

    def _refusal(self) -> Refused | None:
        text = b""
        while more := os.read(self._tell, 4096):
            text += more
        return parse_refusal(text)


def fork_child(launch: Launch, enter: Callable[[], None], stdio: tuple[int, int, int] | None) -> Child:
    """stdio: what becomes the command's 0, 1, 2, with a session of its own; None: inherited, session too."""
    parent = os.getpid()
    tell_reader, tell_writer = os.pipe()
    go_reader, go_writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go_writer)  # held here it would keep the end of file away
        _become(launch, enter, stdio, parent, (tell_writer, go_reader))
    os.close(tell_writer)
    os.close(go_reader)
    return Child(pid, tell_reader, go_writer)


def say(pipe: int, text: bytes) -> None:
    """Nothing if the reader is gone."""
    try:
        os.write(pipe, text)
    except BrokenPipeError:
        return


def refusal_text(refused: Refused) -> bytes:
    return b"-%d %s" % (refused.errno, os.fsencode(refused.what))


def parse_refusal(text: bytes) -> Refused | None:
    """What follows the "-"; None for nothing."""
    number, _, what = text.partition(b" ")
    return Refused(int(number), os.fsdecode(what)) if number else None


def exit_code(refused: Refused) -> int:
    """As a shell and Docker: 127 not found, 126 found and not executable."""
    return NOT_FOUND if refused.errno == errno.ENOENT else NOT_STARTED


def _become(
    launch: Launch,
    enter: Callable[[], None],
    stdio: tuple[int, int, int] | None,
    parent: int,
    pipes: tuple[int, int],
) -> None:
    """The child's life; never returns."""
    tell, go = pipes
    try:
        signal.signal(signal.SIGINT, _own_interrupt())
        die_with(parent)
        enter()
        os.write(tell, b"+")
        if os.read(go, 1) == GO:
            _execute(launch, stdio)
    except Refused as refused:
        os.write(tell, refusal_text(refused))
    except BaseException as error:
        os.write(tell, refusal_text(Refused(getattr(error, "errno", None) or 0, f"start {error!r}")))
    finally:
        os._exit(NOT_STARTED)


def _own_interrupt() -> signal.Handlers:
    """Python's own handler of SIGINT is not the command's; ignored (nohup, `&` in a script) stays ignored."""
    return signal.SIG_IGN if signal.getsignal(signal.SIGINT) == signal.SIG_IGN else signal.SIG_DFL


def _execute(launch: Launch, stdio: tuple[int, int, int] | None) -> None:
    if stdio is not None:
        os.setsid()
        _own_oom_score()
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them for itself
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.chdir(launch.directory)
    except OSError as error:
        raise Refused(error.errno or 0, f"change to directory {launch.directory}") from error
    environment = dict(text.split("=", 1) for text in launch.environment)
    try:
        os.execvpe(launch.command[0], launch.command, environment)  # noqa: S606 - running it is the purpose
    except OSError as error:
        raise Refused(error.errno or 0, f"execute {launch.command[0]}") from error


def _own_oom_score() -> None:
    """The daemon may be protected from the kernel's memory shortage; its sandboxes are not."""
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("0")
