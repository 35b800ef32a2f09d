"""Network drivers: typed options parsed at the edge, and the desired kernel state of a network (pure)."""
