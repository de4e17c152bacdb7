"""The networks: a decoder of signed distances, the same folded for one frame, a preset's model."""

from cellsynth.field.decoder import Decoder
from cellsynth.field.folded import FoldedDecoder
from cellsynth.field.model import CellModel, pick_device

__all__ = ["CellModel", "Decoder", "FoldedDecoder", "pick_device"]
