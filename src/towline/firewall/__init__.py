"""Isolation, masquerade, gateway modes, ports, anti-spoofing, rendered as rules and set elements (pure)."""
