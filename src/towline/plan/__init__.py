"""Requests become records, and records become what the kernel must hold for a sandbox. Pure functions."""
