"""The daemon's side: start a detached command, and find it again after a restart.

All is awaited on descriptors (pipes, pidfds) of the running event loop. A watch is on the shim, not on the command:
when the shim is gone, the exit record is complete and nothing that the command started lives.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

from towline.model.errors import Failure, InvalidParameter
from towline.model.sandbox import Process
from towline.runtime.check import check_launch, data_directory, run_directory
from towline.runtime.child import GO, exit_code, parse_refusal
from towline.runtime.launch import Launch
from towline.runtime.lookup import Exit, find, how_it_ended
from towline.runtime.record import clear
from towline.runtime.watch import Watch, readable

_ROOT = str(Path(__file__).parents[2])
_PROGRAM = f"import sys; sys.path.append({_ROOT!r}); from towline.runtime.shim import main; main()"
_FAULTS = "shim.err"


class CommandNotStarted(InvalidParameter):
    """The program could not be executed. exit_code: 127 (not found) or 126, as Docker records it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code


class Pending:
    """A process inside its sandbox whose command has not begun: the moment to join endpoints and to commit `process`.

    If the daemon ends here, the process ends too. Exactly one of `go` and `abandon` must follow.
    """

    def __init__(self, sandbox: str, watch: Watch, pipes: _Pipes) -> None:
        self.process = watch.process
        self.watch = watch
        self._sandbox = sandbox
        self._pipes = pipes

    async def go(self) -> Watch:
        """Start the command; returns when it is executed. CommandNotStarted (exit record written, process gone). If the
        caller is cancelled meanwhile, the command is killed."""
        try:
            self._pipes.go()
            refused = parse_refusal((await self._pipes.answer())[1:])
        except asyncio.CancelledError:
            self.watch.signal(signal.SIGKILL)
            raise
        finally:
            self._pipes.close()
        if refused is None:
            return self.watch
        await self.watch.ended()
        raise CommandNotStarted(f"sandbox {self._sandbox}: cannot {refused}", exit_code(refused))

    async def abandon(self) -> None:
        """End the process; no record is left."""
        self._pipes.close()
        await self.watch.ended()


class Supervisor:
    """Detached sandboxes of one daemon. Made anywhere; its coroutines belong to one event loop.

    hidden: Launch.hidden of every start.
    """

    def __init__(self, exec_root: str, data_root: str, hidden: tuple[str, ...] = ()) -> None:
        self._exec_root = exec_root
        self._data_root = data_root
        self._hidden = hidden

    def state(self, sandbox: str) -> str:
        """Launch.state of a sandbox. InvalidParameter if the id is none."""
        return run_directory(self._exec_root, sandbox)

    def log(self, sandbox: str) -> str:
        """Launch.log of a detached sandbox, and what `logread` reads. InvalidParameter if the id is none."""
        return os.path.join(data_directory(self._data_root, sandbox), "log")

    async def prepare(self, launch: Launch) -> Pending:
        """A process in the sandbox, ready to go. InvalidParameter (what was asked for), Failure (the kernel refused);
        then nothing is left. Cancelled: nothing is left either."""
        launch.hidden = self._hidden
        pipes = await _spawned(launch)
        try:
            answer = await pipes.answer()
            if not answer.startswith(b"+"):
                raise Failure(f"sandbox {launch.sandbox}: cannot {_reason(launch, answer)}")
            watch = follow(launch.state, Process(*map(int, answer[1:].split())))
            if isinstance(watch, Exit):
                raise Failure(f"sandbox {launch.sandbox}: its process was killed before its start: start it again")
            return Pending(launch.sandbox, watch, pipes)
        except BaseException:
            pipes.close()
            raise

    def attach(self, sandbox: str, process: Process, *, foreign: bool = False) -> Watch | Exit:
        """After a restart of the daemon, and for a process that the command line started (the command, or the process
        that is or will be its parent): follow it, or how it ended. foreign: somebody else's. Call in the event loop."""
        return follow(self.state(sandbox), process, foreign=foreign)

    def remembered(self) -> list[str]:
        """Ids of the sandboxes of which there are records or logs, sorted."""
        found: set[str] = set()
        for root in (self._exec_root, self._data_root):
            with suppress(FileNotFoundError):
                found.update(name for name in os.listdir(os.path.join(root, "sandboxes")) if name.isalnum())
        return sorted(found)

    def forget(self, sandbox: str) -> None:
        """Remove a sandbox's records and log. Absent ones are no error."""
        for directory in (self.state(sandbox), os.path.dirname(self.log(sandbox))):
            shutil.rmtree(directory, ignore_errors=True)


def follow(directory: str, process: Process, *, foreign: bool = False) -> Watch | Exit:
    """See `Supervisor.attach`; directory: Launch.state."""
    found = find(directory, process, foreign=foreign)
    if isinstance(found, Exit):
        return found
    return Watch(process, found, lambda: how_it_ended(directory, process, foreign=foreign))


class _Pipes:
    """To and from a shim that has been started; `shim` says what goes through."""

    def __init__(self, to: int, back: int) -> None:
        self._to = to
        self._back = back
        os.set_blocking(back, False)

    def go(self) -> None:
        with suppress(BrokenPipeError):
            os.write(self._to, GO)

    async def answer(self) -> bytes:
        """One line, or what comes before the end."""
        text = b""
        while not text.endswith(b"\n"):
            await readable(self._back)
            more = os.read(self._back, 4096)
            if not more:
                break
            text += more
        return text

    def close(self) -> None:
        os.close(self._to)
        os.close(self._back)


async def _spawned(launch: Launch) -> _Pipes:
    """`_spawn` in a thread; if the caller is cancelled meanwhile, what it makes is ended."""
    spawning = asyncio.ensure_future(asyncio.to_thread(_spawn, launch))
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        spawning.add_done_callback(_unwanted)
        raise


def _unwanted(spawning: asyncio.Future[_Pipes]) -> None:
    if not spawning.cancelled() and spawning.exception() is None:
        spawning.result().close()


def _spawn(launch: Launch) -> _Pipes:
    """Blocks about as long as a Python takes to start. The process started here ends at once: the shim is its child, so
    that nobody has to reap it."""
    check_launch(launch)
    for directory in (launch.state, os.path.dirname(launch.log)):
        os.makedirs(directory, mode=0o700, exist_ok=True)
    clear(launch.state)
    shim_in, to = os.pipe()
    back, shim_out = os.pipe()
    faults = os.open(os.path.join(launch.state, _FAULTS), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        starter = _start(launch.sandbox, (shim_in, shim_out, faults))
    finally:
        for fd in (shim_in, shim_out, faults):
            os.close(fd)
    _send(to, launch.encode())
    os.waitpid(starter, 0)
    return _Pipes(to, back)


def _start(sandbox: str, stdio: tuple[int, int, int]) -> int:
    """By posix_spawn: its cost does not grow with the daemon's memory."""
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM, sandbox]
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(stdio)]
    return os.posix_spawn(
        sys.executable, command, {}, file_actions=actions, setsigmask=(), setsigdef=signal.valid_signals()
    )


def _send(fd: int, data: bytes) -> None:
    """All of it; less only if the shim is gone, which its answer (none) will tell."""
    with suppress(BrokenPipeError):
        while data:
            data = data[os.write(fd, data) :]


def _reason(launch: Launch, answer: bytes) -> str:
    """What the shim said, or its last words."""
    refused = parse_refusal(answer[1:])
    if refused is not None:
        return str(refused)
    with suppress(OSError):
        words = Path(launch.state, _FAULTS).read_text("utf-8", "replace").strip()
        return f"start its process: {words.rpartition(chr(10))[2] or 'it was killed'}"
    return "start its process: it was killed"
