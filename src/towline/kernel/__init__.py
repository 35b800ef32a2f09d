"""The kernel as a few narrow Protocols of the verbs we use (`contract`): real ones over our own netlink codecs, and
stateful fakes."""
