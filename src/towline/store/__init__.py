"""The store is the truth: contract, codec, and the backends memory and SQLite."""
