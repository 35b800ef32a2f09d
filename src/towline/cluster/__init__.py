"""Many hosts: nodes, roles, certificates, the cluster's records in etcd, and each node's copy of what concerns it."""
