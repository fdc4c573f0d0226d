"""Stages that turn rewards into other rewards."""

from guerdon.shape.blend import Blend, combine
from guerdon.shape.elementwise import Clip, Scale, clip, scale

__all__ = ["Blend", "Clip", "Scale", "clip", "combine", "scale"]
