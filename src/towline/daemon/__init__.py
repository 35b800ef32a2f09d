"""The `towlined` process: flags, configuration file, logs, readiness, listeners."""
