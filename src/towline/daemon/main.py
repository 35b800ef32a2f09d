"""Entry point of `towlined`. Exit status: 0 stopped as asked, 1 could not start or failed, 2 wrong flags or file."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import towline
from towline.daemon.flags import UsageError
from towline.daemon.load import Loaded, load
from towline.daemon.options import help_text
from towline.model.errors import ConfigError, TowlineError

if TYPE_CHECKING:
    from aiohttp import web

    from towline.control.contract import WholeEngine
    from towline.daemon.contract import Build, MakeRunner, Service
    from towline.model.config import Config

EXIT_FAILURE, EXIT_CONFIG = 1, 2
log = logging.getLogger(__name__)


def main() -> int:
    return run(sys.argv[1:])


def run(argv: list[str], *, build: Build | None = None, make_runner: MakeRunner | None = None) -> int:
    """build and make_runner: the product's own unless given (tests give stubs)."""
    gc.disable()  # nothing to collect while modules load; on again when the daemon is ready
    try:
        loaded = load(argv)
    except ConfigError as error:
        return _complain(error)
    if loaded.action == "run":
        return _run(loaded, build, make_runner)
    texts = {"help": help_text(), "version": f"towlined {towline.__version__}\n", "validate": "configuration OK\n"}
    sys.stdout.write(texts[loaded.action])
    return 0


def _run(loaded: Loaded, build: Build | None, make_runner: MakeRunner | None) -> int:
    if os.geteuid() != 0:
        sys.stderr.write("towlined: must be started as root: it makes links and nftables rules\n")
        return EXIT_FAILURE
    import asyncio
    import faulthandler

    import uvloop

    from towline.daemon.logs import configure_logs
    from towline.daemon.process import serve

    configure_logs(loaded.config.log_level, loaded.config.log_format, debug=loaded.config.debug)
    faulthandler.register(signal.SIGUSR1)  # stacks of all threads to standard error, as dockerd does on SIGUSR1
    os.umask(0o077)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(loaded, build or _build, make_runner or _make_runner))
    except ConfigError as error:
        return _complain(error)
    except TowlineError as error:
        log.error("failed to start: %s", error)
        return EXIT_FAILURE
    except Exception:
        log.exception("failed by an error of its own")
        return EXIT_FAILURE
    return 0


@contextlib.contextmanager
def _without_ca_certificates() -> Iterator[None]:
    """aiohttp loads the machine's CA certificates while it is imported, for its client: 40 ms and 2 MB that a server
    does not need (clients in this process bring TLS contexts of their own). OpenSSL's own variables turn it off."""
    saved = {name: os.environ.get(name) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR")}
    os.environ.update(dict.fromkeys(saved, os.devnull))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _complain(error: ConfigError) -> int:
    hint = "\nSee 'towlined --help'." if isinstance(error, UsageError) else ""
    sys.stderr.write(f"towlined: {error}{hint}\n")
    return EXIT_CONFIG


def _build(config: Config) -> Service:
    from towline.wire import build

    return build(config)


def _make_runner(engine: WholeEngine) -> web.BaseRunner:
    with _without_ca_certificates():
        from towline.api.server import make_runner

    return make_runner(engine)
