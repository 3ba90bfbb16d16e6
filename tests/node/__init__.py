"""Nodes that tests talk to."""
