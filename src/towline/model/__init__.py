"""The nouns of the engine: frozen records and checked names. They hold ids of each other and do nothing."""
