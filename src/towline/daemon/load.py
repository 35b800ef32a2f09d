"""Command line and configuration file together: at start, and again on SIGHUP."""

from __future__ import annotations

import msgspec

from towline.daemon.configfile import read_config_file, refuse_conflicts
from towline.daemon.flags import DEFAULT_CONFIG_FILE, Action, parse_flags
from towline.daemon.settings import Settings, build_config
from towline.model.config import Config

# What SIGHUP changes; dockerd's list, as far as Towline has the options (moby daemon/reload.go).
RELOADABLE = ("debug", "labels")


class Loaded(msgspec.Struct, frozen=True):
    """flags: what the command line set, which a reload may not change."""

    action: Action
    config: Config
    config_file: str
    explicit_file: bool
    flags: Settings


class Reload(msgspec.Struct, frozen=True):
    """changed: options that take effect now; waiting: those that need a restart. Both by their name in the file."""

    config: Config
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def load(argv: list[str]) -> Loaded:
    """argv without the program's name. Raises ConfigError (UsageError for the command line)."""
    flags = parse_flags(argv)
    path = flags.config_file or DEFAULT_CONFIG_FILE
    explicit = bool(flags.config_file)
    if flags.action in ("help", "version"):
        return Loaded(flags.action, Config(), path, explicit, {})
    return Loaded(flags.action, _merge(flags.settings, path, explicit), path, explicit, flags.settings)


def reload(loaded: Loaded, current: Config) -> Reload:
    """Read the file again and compare with what runs. Raises ConfigError; then everything stays as it is."""
    fresh = _merge(loaded.flags, loaded.config_file, loaded.explicit_file)
    differing = [name for name in Config.__struct_fields__ if getattr(fresh, name) != getattr(current, name)]
    taken = {name: getattr(fresh, name) for name in differing if name in RELOADABLE}
    return Reload(
        msgspec.structs.replace(current, **taken),
        tuple(name.replace("_", "-") for name in taken),
        tuple(name.replace("_", "-") for name in differing if name not in RELOADABLE),
    )


def _merge(flags: Settings, path: str, explicit: bool) -> Config:
    file = read_config_file(path, required=explicit)
    refuse_conflicts(path, flags, file)
    return build_config({**file, **flags})
