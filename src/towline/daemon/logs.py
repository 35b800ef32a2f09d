"""Structured logs on standard error: logfmt as dockerd writes it, or one JSON object a line.

Any code logs with the standard library; fields go into `extra`:
`logging.getLogger(__name__).info("network created", extra={"fields": {"network": name, "id": network_id}})`.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from json import dumps

_LEVELS = {"debug": 10, "info": 20, "warn": 30, "error": 40, "fatal": 50}
_NAMES = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "fatal"}
_plain = re.compile(r"[A-Za-z0-9\-._/@^+:]+").fullmatch  # logrus leaves these without quotes


class TextFormatter(logging.Formatter):
    """`time="..." level=info msg="network created" network=web`."""

    def format(self, record: logging.LogRecord) -> str:
        head = f'time="{_time(record)}" level={_level(record)} msg={dumps(record.getMessage(), ensure_ascii=False)}'
        return head + "".join(f" {key}={_quoted(value)}" for key, value in _fields(record).items())


class JsonFormatter(logging.Formatter):
    """`{"time": ..., "level": ..., "msg": ..., "network": "web"}`; a field never hides time, level or msg."""

    def format(self, record: logging.LogRecord) -> str:
        head = {"time": _time(record), "level": _level(record), "msg": record.getMessage()}
        return dumps(_fields(record) | head, ensure_ascii=False, default=str)


def configure_logs(level: str, form: str, *, debug: bool) -> None:
    """Send everything at `level` (debug: at debug) or above to standard error, as `form` (text or json) says."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level, debug=debug)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def set_level(level: str, *, debug: bool) -> None:
    logging.getLogger().setLevel(_LEVELS["debug" if debug else level])


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = dict(getattr(record, "fields", None) or {})
    if record.exc_info and record.exc_info[0]:
        fields["error"] = str(record.exc_info[1]) or record.exc_info[0].__name__
        fields["stack"] = logging.Formatter().formatException(record.exc_info)
    return fields


def _time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.created % 1 * 1e6):06d}Z"


def _level(record: logging.LogRecord) -> str:
    return _NAMES.get(record.levelno, record.levelname.lower())


def _quoted(value: object) -> str:
    text = str(value)
    return text if _plain(text) else dumps(text, ensure_ascii=False)
