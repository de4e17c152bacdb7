"""New latent codes: how they are drawn, and how the widths are set from the learned ones."""

from cellsynth.sampling.strategies import draw_latent, draw_rotation, draw_stream, learned_turn

__all__ = ["draw_latent", "draw_rotation", "draw_stream", "learned_turn"]
