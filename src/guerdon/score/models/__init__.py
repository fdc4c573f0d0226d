"""Reward models, and what they need."""
