"""The only conductor: plans are committed to the store and applied to the kernel here, and nowhere else."""
