"""`towline run` in the foreground: two processes, so that nothing is left whatever ends the command.

The inner one asks the daemon for a sandbox, lives in it and is the command's parent. The outer one waits, passes on the
signals that it is sent, and removes the sandbox afterwards if it never started or is not to stay: it can, because the
process that the daemon watches has ended by then.
"""

from __future__ import annotations

import os
import signal
import sys

from towline.cli import run
from towline.cli.client import Client
from towline.cli.errors import CliError
from towline.cli.values import Object, as_list, as_object, as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from towline.runtime.launch import Launch

_FILES = (("hosts", "/etc/hosts"), ("resolv_conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"))
_LIVES = b"!"
_HELD = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP}
"""Kept until whoever accompanies the command looks at them: none ends one of the two processes in between."""


def run_here(client: Client, body: Object) -> int:
    """The command's exit code. CliError if it cannot be started; nothing is left of the sandbox then."""
    check_place(client)
    from towline.runtime.enter import die_with
    from towline.runtime.life import accompany, outcome

    outer = os.getpid()
    news, tell = os.pipe()
    sys.stdout.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    inner = os.fork()
    if inner == 0:
        die_with(outer)
        os.close(news)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return _live(client, body, tell)
    os.close(tell)
    code, _ = outcome(accompany(inner))
    _clean_up(client, os.read(news, 4096), keep=not body.get("auto_remove"))
    return code


def check_place(client: Client) -> None:
    """A process enters namespaces of its own host only, and as root."""
    if not client.address.path:
        raise CliError(
            f"the daemon at {client.address} may be on another host, where this process cannot go",
            "Run the command there, or use `towline run --detach`.",
        )
    if os.geteuid() != 0:
        raise CliError("only root may enter a sandbox", 'Run the command as root ("sudo towline ...").')


def _live(client: Client, body: Object, tell: int) -> int:
    """Create, start, be the command's parent. tell: gets the sandbox's id, and a mark once the command may begin."""
    sandbox_id = as_text(run.create(client, body).get("id"))
    os.write(tell, sandbox_id.encode())
    launch = _launch(sandbox_id, run.start(client, sandbox_id, os.getpid()), body)
    from towline.model.errors import TowlineError
    from towline.runtime.foreground import Foreground

    try:
        inside = Foreground(launch)
    except TowlineError as error:
        raise CliError(str(error)) from None
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    os.write(tell, _LIVES)
    return inside.run()


def _clean_up(client: Client, news: bytes, *, keep: bool) -> None:
    lived = news.endswith(_LIVES)
    sandbox_id = news.removesuffix(_LIVES).decode()
    if sandbox_id and not (lived and keep):
        run.give_up(client, sandbox_id)


def _launch(sandbox_id: str, started: Object, body: Object) -> Launch:
    """Records of process and exit are kept beside the sandbox's files."""
    from towline.runtime.check import complete_environment
    from towline.runtime.launch import Launch

    files = [(as_text(started.get(name)), target) for name, target in _FILES]
    hostname = _first_line(files[-1][0])
    return Launch(
        sandbox=sandbox_id,
        netns=as_text(started.get("netns")),
        hostname=hostname,
        command=tuple(map(as_text, as_list(body.get("command")))),
        environment=complete_environment(tuple(map(as_text, as_list(body.get("environment")))), hostname),
        directory=as_text(body.get("directory")),
        state=os.path.dirname(files[0][0]),
        files=tuple(files),
        hidden=tuple(map(as_text, as_list(started.get("hidden")))),
        sysctls=tuple((key, as_text(value)) for key, value in as_object(body.get("sysctls")).items()),
    )


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.readline().rstrip("\n")
    except OSError as error:
        raise CliError(f"cannot read the sandbox's hostname: {path}: {error.strerror}") from None
