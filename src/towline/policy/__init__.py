"""May this happen, and with which defaults (pure)."""
