"""guerdon inside other trainers: plain TRL, verl, OpenRLHF."""
