"""A sandbox moves to another node: the protocol, pure. docs/design/migration.md."""
