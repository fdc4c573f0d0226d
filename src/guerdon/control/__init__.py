"""Reward theory and classic control: what only they need. Finite MDPs are solved exactly in `guerdon.control.mdp`."""
