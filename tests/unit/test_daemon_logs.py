"""Log lines as people and machines read them."""

from __future__ import annotations

import json
import logging
import shlex
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.daemon.logs import JsonFormatter, TextFormatter, configure_logs, set_level

log = logging.getLogger("towline.test")


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """Put the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: str, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.INFO, __file__, 1, message, None, None)
    made.created = 1700000000.25
    made.fields = fields
    return made


def test_text() -> None:
    line = TextFormatter().format(record("network created", network="web", options="a b", n=3))
    assert line == ('time="2023-11-14T22:13:20.250000Z" level=info msg="network created" network=web options="a b" n=3')


def test_json() -> None:
    line = JsonFormatter().format(record("network created", network="web", n=3, msg="hidden"))
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250000Z",
        "level": "info",
        "msg": "network created",
        "network": "web",
        "n": 3,
    }


@given(st.text(), st.dictionaries(st.sampled_from(["a", "b"]), st.text()))
def test_one_line_whatever_is_logged(message: str, fields: dict[str, str]) -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(record(message.replace("%", "%%"), **fields))
        assert len(line.split("\n")) == 1
        assert "\r" not in line


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\\")))
def test_text_fields_can_be_taken_apart(value: str) -> None:
    line = TextFormatter().format(record("m", key=value))
    assert shlex.split(line)[-1] == f"key={value}"


def test_level_debug_flag_and_exception(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("warn", "text", debug=False)
    log.info("unseen")
    set_level("warn", debug=True)
    log.debug("seen")
    try:
        raise ValueError("boom")
    except ValueError:
        log.exception("it failed")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert 'level=debug msg="seen"' in lines[0]
    assert 'level=error msg="it failed" error=boom stack="Traceback' in lines[1]


def test_levels_have_dockerds_names(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("debug", "json", debug=False)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        log.log(level, "x")
    names = [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()]
    assert names == ["debug", "info", "warning", "error", "fatal"]
