"""Fields by name: the default, those that it is compared with, that of a preset."""

from __future__ import annotations

from cellsynth.presets.models import FieldSpec
from cellsynth.presets.named import find_named

__all__ = ["FIELDS", "find_field"]

FIELDS = {
    "siren": FieldSpec(),
    # Wiesner et al. 2024, section 3.4: the same network, and every cell as it lies.
    "non-equivariant": FieldSpec(equivariant=False),
    # Park et al. 2019, supplement, in 3D+t as in Wiesner et al. 2024, section 5.7: 8 layers of 512
    # ReLUs, a code of 256; code and coordinates once more at the middle, where they count as part
    # of the width; tanh at the end. Its dropout and weight normalisation are left out.
    "deepsdf": FieldSpec(
        kind="relu",
        hidden_layers=8,
        width=512,
        latent_dim=256,
        latent_layers=(1, 5),
        coords_layers="latent",
        widths_include_inputs=True,
        equivariant=False,
        output="tanh",
    ),
}


def find_field(name: str) -> FieldSpec:
    """The field of that name, of that preset, or in that TOML file.

    A file has the keys of the section ``field`` of a ``preset.toml``; what it leaves out is as in
    ``siren``.

    Raises:
        MissingError: Neither a known name, nor a preset, nor a file.
        BundleError: A key or value that the field refuses.
        FormatError, StorageError: The file is no text, or cannot be read.
    """
    return find_named("field", name, FIELDS, FieldSpec, lambda preset: preset.field)
