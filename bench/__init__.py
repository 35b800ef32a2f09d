"""Side by side with real container engines: `python -m bench --help`; docs/benchmarks.md has the method."""
