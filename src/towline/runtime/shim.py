"""The parent of a detached command: small, in a session of its own, with no tie to the daemon after the start.

Started by `supervise` with an encoded launch on standard input. On standard output it answers "+<pid> <start>" when the
command's process is inside the sandbox, or "-<errno> <step>". Then a "!" on standard input starts the command (end of
file: nobody wants it any more), and the answer is end of file, or "-<errno> <step>" again.
Its own last words, if it has a fault, are in the file `shim.err` of the run directory.
"""

from __future__ import annotations

import os

from towline.runtime.child import GO, Child, exit_code, fork_child, refusal_text, say
from towline.runtime.enter import Refused, adopt_orphans, enter_new, name_process
from towline.runtime.launch import Launch, read_launch
from towline.runtime.life import Run
from towline.runtime.output import LogFile, Stream
from towline.runtime.record import clear, write_process

_ALL = 1 << 30  # descriptors: what the daemon was given open by its own parent is not for a sandbox


def main() -> None:
    """Never returns in the shim itself; its starter's child ends at once."""
    if os.fork():
        os._exit(0)
    os.closerange(3, _ALL)
    os.setsid()
    os.chdir("/")
    os.umask(0o022)
    name_process("towline-shim")
    launch = read_launch(0)
    if launch is None:
        return
    try:
        adopt_orphans()
        code = _run(launch)
    except Refused as refused:
        say(1, refusal_text(refused))
        code = exit_code(refused)
    os._exit(code)


def _run(launch: Launch) -> int:
    streams, stdio = _outputs(launch.log)
    child = fork_child(launch, lambda: enter_new(launch), stdio)
    for fd in stdio:
        os.close(fd)
    child.ready()
    write_process(launch.state, child.pid, child.started)
    say(1, b"+%d %d\n" % (child.pid, child.started))
    if os.read(0, 1) != GO:
        child.abandon()
        clear(launch.state)
        return 0
    return _live(launch, child, streams)


def _live(launch: Launch, child: Child, streams: dict[int, Stream]) -> int:
    run = Run(child, launch.state)
    refused = child.go()
    if refused is not None:
        os.waitpid(child.pid, 0)
        code = run.ended(exit_code(refused))
        say(1, refusal_text(refused))
        return code
    _let_go()
    return run.detached(streams)


def _let_go() -> None:
    """Close the pipes to the daemon; that is its sign that the command runs."""
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _outputs(path: str) -> tuple[dict[int, Stream], tuple[int, int, int]]:
    """The reading ends with their streams, and the command's 0, 1, 2."""
    log = LogFile(path)
    null = os.open("/dev/null", os.O_RDONLY)
    out, out_writer = os.pipe()
    err, err_writer = os.pipe()
    os.set_blocking(out, False)
    os.set_blocking(err, False)
    return {out: Stream(b"stdout", log), err: Stream(b"stderr", log)}, (null, out_writer, err_writer)
