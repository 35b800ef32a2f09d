"""A whole cluster on one machine, over fake kernels: `python -m scale --help`; docs/design/scale.md has the figures."""
