"""The networks: a decoder of signed distances, and the same folded for one frame."""

from cellsynth.field.decoder import Decoder
from cellsynth.field.folded import FoldedDecoder

__all__ = ["Decoder", "FoldedDecoder"]
