"""Importing this module registers guerdon with verl: what verl's `VERL_USE_EXTERNAL_MODULES` asks for."""

from guerdon.adapters.verl.registration import register

register()
