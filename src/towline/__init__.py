"""Towline: container networks that move with their containers."""

__version__ = "0.1.0"
