"""Pools, subnets, addresses, ranges (pure), and the contract for remote IPAM drivers."""
