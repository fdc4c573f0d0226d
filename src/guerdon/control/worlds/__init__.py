"""Small worlds, solved exactly: one file each."""
