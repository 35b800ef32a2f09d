"""What may be started, and where a sandbox's files are. Wrong input is refused here, before anything is touched."""

from __future__ import annotations

import os
import stat

from towline.model.errors import InvalidParameter
from towline.runtime.launch import Launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

HOSTNAME_BYTES = 64  # __NEW_UTS_LEN
ID_LENGTH = 64
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def run_directory(exec_root: str, sandbox: str) -> str:
    """Records of process and exit. InvalidParameter if the id could lead elsewhere."""
    return os.path.join(exec_root, "sandboxes", check_id(sandbox))


def data_directory(data_root: str, sandbox: str) -> str:
    """The log. InvalidParameter if the id could lead elsewhere."""
    return os.path.join(data_root, "sandboxes", check_id(sandbox))


def daemon_places(exec_root: str, data_root: str, hosts: Iterable[str]) -> tuple[str, ...]:
    """What no command in a sandbox is to see: the daemon's roots, and its unix sockets elsewhere. hosts: its --host."""
    sockets = (host.removeprefix("unix://") for host in hosts if host.startswith("unix://"))
    return (exec_root, data_root, *sockets)


def check_id(sandbox: str) -> str:
    """Letters and digits only, so that no path can be made of it."""
    if not (sandbox.isascii() and sandbox.isalnum() and len(sandbox) <= ID_LENGTH):
        raise InvalidParameter(f"sandbox id {sandbox!r} is not made of 1 to {ID_LENGTH} letters and digits: use its id")
    return sandbox


def complete_environment(environment: tuple[str, ...], hostname: str) -> tuple[str, ...]:
    """With PATH and HOSTNAME where they are missing, as in a container."""
    given = {text.partition("=")[0] for text in environment}
    defaults = (("PATH", DEFAULT_PATH), ("HOSTNAME", hostname))
    return (*(f"{key}={value}" for key, value in defaults if key not in given), *environment)


def check_launch(launch: Launch) -> None:
    """InvalidParameter naming the sandbox's part that is wrong, why, and what to do."""
    who = f"sandbox {check_id(launch.sandbox)}"
    check_command(who, launch.command, launch.environment, launch.directory)
    _check_hostname(who, launch.hostname)
    for source, target in launch.files:
        _check_file(who, source, "its generated file is missing: start it again")
        _check_file(who, target, "the host has no such file to put the sandbox's over: create an empty one")


def check_command(who: str, command: tuple[str, ...], environment: tuple[str, ...], directory: str) -> None:
    """For a start and for an exec. InvalidParameter as `check_launch`."""
    if not command or not command[0]:
        raise InvalidParameter(f"{who}: the command is empty: give a program to run after --")
    for text in command:
        _check_text(who, "argument", text)
    for text in environment:
        _check_text(who, "environment variable", text)
        if text.find("=") < 1:
            raise InvalidParameter(f"{who}: environment variable {_shown(text)} has no name and value: write KEY=VALUE")
    _check_directory(who, directory)


def _check_directory(who: str, directory: str) -> None:
    _check_text(who, "directory", directory)
    if not directory.startswith("/"):
        raise InvalidParameter(f"{who}: directory {_shown(directory)} is relative: give an absolute path")
    try:
        mode = os.stat(directory).st_mode
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise InvalidParameter(
            f"{who}: directory {_shown(directory)}: {reason}: create it or choose another"
        ) from error
    if not stat.S_ISDIR(mode):
        raise InvalidParameter(f"{who}: directory {_shown(directory)} is not a directory: choose another")


def _check_hostname(who: str, hostname: str) -> None:
    _check_text(who, "hostname", hostname)
    plain = hostname.isprintable() and not set(hostname) & set(" /")
    if not hostname or not plain or len(os.fsencode(hostname)) > HOSTNAME_BYTES:
        raise InvalidParameter(
            f"{who}: hostname {_shown(hostname)} is not 1 to {HOSTNAME_BYTES} visible characters without spaces and "
            "slashes: choose another"
        )


def _check_file(who: str, path: str, remedy: str) -> None:
    _check_text(who, "file", path)
    if not path.startswith("/") or not path.isprintable():
        raise InvalidParameter(f"{who}: file {_shown(path)} is not an absolute path in one line: choose another")
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        reason = (error.strerror or "cannot be read").lower()
        raise InvalidParameter(f"{who}: file {_shown(path)}: {reason}: {remedy}") from error
    if not stat.S_ISREG(mode):
        raise InvalidParameter(f"{who}: file {_shown(path)} is no regular file: {remedy}")


def _check_text(who: str, what: str, text: str) -> None:
    if "\0" in text:
        raise InvalidParameter(
            f"{who}: {what} {_shown(text)} contains a NUL byte, which no program can receive: remove it"
        )
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise InvalidParameter(f"{who}: {what} {_shown(text)} is no valid Unicode text: correct it") from error


def _shown(text: str) -> str:
    """Quoted, ASCII, not longer than a line."""
    return ascii(text if len(text) <= 80 else f"{text[:77]}...")
