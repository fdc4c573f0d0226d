"""Verifiers: what a response says, and whether it is right."""
