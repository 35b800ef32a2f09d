"""A request and a view become a Plan value: what to commit and what must exist in the kernel (pure)."""
