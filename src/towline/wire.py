"""Builds every concrete object of the daemon; decides nothing."""
