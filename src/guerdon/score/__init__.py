"""Stages and models that give rewards."""
