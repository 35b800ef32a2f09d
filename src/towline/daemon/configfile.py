"""The JSON configuration file, with dockerd's keys. Errors name file, line, column and key."""

from __future__ import annotations

from collections.abc import Mapping
from json import JSONDecodeError

import msgspec

from towline.daemon import options, values
from towline.daemon.jsonpos import Member, Node, parse_json, position
from towline.daemon.options import Option
from towline.daemon.settings import Setting, Settings, collect
from towline.model.errors import ConfigError

MAX_BYTES = 1 << 20
_SHAPES: dict[type, str] = {bool: "a boolean", str: "a string", int: "a number", float: "a number", type(None): "null"}


class _Source(msgspec.Struct, frozen=True):
    path: str
    text: str

    def where(self, at: int) -> str:
        line, column = position(self.text, at)
        return f"{_intro(self.path)}: line {line}, column {column}"

    def error(self, at: int, key: str, problem: str) -> ConfigError:
        return ConfigError(f"{self.where(at)}: key {key}: {problem}")


def read_config_file(path: str, *, required: bool) -> Settings:
    """Settings by key; {} if the file is absent and not required."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not required:
            return {}
        raise ConfigError(f"{_intro(path)}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{_intro(path)}: larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{_intro(path)}: line {line}: not UTF-8") from None
    return parse_config_text(path, text)


def parse_config_text(path: str, text: str) -> Settings:
    """An empty file counts as {}, as for dockerd. `path` is only for the messages."""
    if not text.strip():
        return {}
    source = _Source(path, text)
    try:
        root = parse_json(text)
    except JSONDecodeError as error:
        raise ConfigError(f"{source.where(error.pos)}: {error.msg}") from None
    if not isinstance(root.value, dict):
        raise ConfigError(f"{source.where(root.at)}: {_shape(root)}; the file holds one object, such as {{}}")
    members: dict[str, Member] = root.value
    _refuse_unknown(source, members)
    return {key: _setting(source, options.BY_KEY[key], member) for key, member in members.items()}


def refuse_conflicts(path: str, flags: Settings, file: Settings) -> None:
    """dockerd's rule: nothing may be set in both places."""
    both = [
        f"{key}: (from flag: {flags[key].shown}, from file: {file[key].shown})" for key in sorted(flags) if key in file
    ]
    if both:
        raise ConfigError(
            f"{_intro(path)}: the following directives are specified both as a flag and in the configuration file: "
            + ", ".join(both)
        )


def _intro(path: str) -> str:
    return f"unable to configure the Towline daemon with file {path}"


def _refuse_unknown(source: _Source, members: Mapping[str, Member]) -> None:
    unknown = [key for key in members if key not in options.BY_KEY]
    if not unknown:
        return
    shown = ", ".join(f"{key} (line {position(source.text, members[key].at)[0]})" for key in unknown)
    raise ConfigError(
        f"{_intro(source.path)}: the following directives don't match any configuration option: {shown}"
        + options.suggestion(unknown[0], options.BY_KEY)
    )


def _setting(source: _Source, option: Option, member: Member) -> Setting:
    node = member.node
    origin = f"{source.where(member.at)}: key {option.key}"
    if option.kind == "pools":
        parsed: list[object] = [_pool(source, option.key, item) for item in _items(source, option.key, node)]
    elif option.kind == "network-opts":
        parsed = _network_opts(source, option.key, node)
    elif option.kind == "list":
        parsed = [_checked(source, option, item, str) for item in _items(source, option.key, node)]
    else:
        parsed = [_checked(source, option, node, {"bool": bool, "int": int}.get(option.kind, str))]
    return collect(option, parsed, origin, _shown(node))


def _checked(source: _Source, option: Option, node: Node, wanted: type) -> object:
    if type(node.value) is not wanted:
        raise source.error(node.at, option.key, f"{_SHAPES[wanted]} is needed, not {_shape(node)}")
    if wanted is bool:
        return node.value
    try:
        return option.parse(str(node.value))
    except ValueError as error:
        raise source.error(node.at, option.key, f"{_shown(node)}: {error}") from None


def _items(source: _Source, key: str, node: Node) -> list[Node]:
    if not isinstance(node.value, list):
        raise source.error(node.at, key, f"an array is needed, not {_shape(node)}")
    return node.value


def _members(source: _Source, key: str, node: Node) -> dict[str, Member]:
    if not isinstance(node.value, dict):
        raise source.error(node.at, key, f"an object is needed, not {_shape(node)}")
    return node.value


def _pool(source: _Source, key: str, node: Node) -> object:
    members = _members(source, key, node)
    for name, member in members.items():
        if name not in ("base", "size"):
            raise source.error(member.at, key, f"{name!r} is not part of a pool; it has base and size")
    base, size = (members[name].node.value if name in members else None for name in ("base", "size"))
    if not isinstance(base, str) or type(size) is not int:
        raise source.error(node.at, key, 'a pool needs both, as in {"base": "10.0.0.0/8", "size": 24}')
    try:
        return values.check_pool(base, size)
    except ValueError as error:
        raise source.error(node.at, key, str(error)) from None


def _network_opts(source: _Source, key: str, node: Node) -> list[object]:
    """(driver, option, value) for each."""
    found: list[object] = []
    for driver, inner in _members(source, key, node).items():
        for name, member in _members(source, f"{key}.{driver}", inner.node).items():
            value = member.node.value
            if not isinstance(value, str):
                raise source.error(
                    member.node.at, f"{key}.{driver}", f"{name}: a string is needed, not {_shape(member.node)}"
                )
            found.append((driver, name, value))
    return found


def _shape(node: Node) -> str:
    if isinstance(node.value, dict):
        return "an object"
    if isinstance(node.value, list):
        return "an array"
    return _SHAPES[type(node.value)]


def _shown(node: Node) -> str:
    """As dockerd prints values of a conflict (Go's %v)."""
    value = node.value
    if isinstance(value, list):
        return f"[{' '.join(_shown(item) for item in value)}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_shown(member.node)}' for key, member in value.items())}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
