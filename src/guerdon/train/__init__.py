"""Training on TRL."""
