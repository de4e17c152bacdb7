"""Profiles: what is shipped, what is refused, in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellsynth.errors import BundleError, MissingError
from cellsynth.presets.toml import to_toml
from cellsynth.texture.profiles import (
    OpticsProfile,
    find_profile,
    profile_for,
    shipped_profiles,
)

SHIPPED = {"csu10-40x1.3", "lsm510-63x1.4", "simview-16x0.8"}


def written(folder: Path, old: str = "", new: str = "") -> Path:
    """A user's file: the profile of the confocal microscope with one change."""
    text = to_toml(find_profile("lsm510-63x1.4"))
    assert old in text
    path = folder / "mine.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_three_are_shipped_under_their_names():
    known = shipped_profiles()
    assert set(known) == SHIPPED
    assert {name: profile.name for name, profile in known.items()} == {n: n for n in SHIPPED}


@pytest.mark.parametrize(
    ("name", "modality", "na", "magnification", "bits"),
    [
        ("lsm510-63x1.4", "confocal", 1.4, 63, 8),
        ("simview-16x0.8", "light-sheet", 0.8, 16, 16),
        ("csu10-40x1.3", "spinning-disk", 1.3, 40, 12),
    ],
)
def test_they_are_the_published_microscopes(name, modality, na, magnification, bits):
    profile = find_profile(name)
    assert profile.optics.modality == modality
    assert (profile.optics.na, profile.optics.magnification) == (na, magnification)
    assert profile.camera.bits == bits


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_value_of_the_optics_has_a_source(name):
    profile = find_profile(name)
    said = set(profile.sources)
    given = profile.optics.model_dump(exclude_defaults=True)
    assert {f"optics.{key}" for key in given} <= said
    assert {"fluorophore", "brightness", "background"} <= said
    assert any(key.startswith("camera") for key in said)


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("celegans", "lsm510-63x1.4"),
        ("platynereis", "simview-16x0.8"),
        ("a549", "csu10-40x1.3"),
    ],
)
def test_a_preset_has_its_microscope(preset, name):
    assert profile_for(preset).name == name


def test_a_preset_without_one_is_told_what_there_is():
    with pytest.raises(MissingError, match=r"preset 'yeast'; pass --profile csu10-40x1\.3, lsm510"):
        profile_for("yeast")


def test_a_file_of_ones_own(tmp_path):
    assert find_profile(written(tmp_path)) == find_profile("lsm510-63x1.4")
    mine = find_profile(written(tmp_path, "photons = 50.0", "photons = 20.0"))
    assert mine.brightness.photons == 20
    assert mine.fluorophore == find_profile("lsm510-63x1.4").fluorophore


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(MissingError, match=r"profile lsm880 is not there; give csu10-40x1\.3, "):
        find_profile("lsm880")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("na = 1.4", "na = 1.6", r"optics\.na must be below immersion_index, got 1\.6"),
        ("na = 1.4", "aperture = 1.4", r"optics\.aperture is unknown"),
        ("pinhole_airy = 1.0", "", r"optics\.pinhole_airy is missing"),
        ("pinhole_airy = 1.0", "pinhole_airy = 1.0\nsheet_um = 4.0", "sheet_um must be left out"),
        ('modality = "confocal"', 'modality = "light-sheet"', "pinhole_airy must be left out"),
        ('modality = "confocal"', 'modality = "sted"', r"optics\.modality must be 'widefield'"),
        ("photons = 50.0", "photons = 0.0", r"brightness\.photons must be above 0, got 0\.0"),
        ("bits = 8", "bits = 10", r"camera\.bits must be 8, 12 or 16, got 10"),
        ("gain = 1.8", "gain = nan", r"camera\.gain must be a finite number"),
        ("grain_um = 1.1", "grain_um = -1.0", r"grain_um must be above 0, got -1\.0"),
        ('kind = "chromatin"', 'kind = "tubulin"', "fluorophore"),
        ('"optics.na" =', '"optics.aperture" =', r"sources: optics\.aperture names no key"),
        ("bits = 8", "bits = ", "no valid TOML"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, old, new, message):
    path = written(tmp_path, old, new)
    with pytest.raises(BundleError, match=message) as raised:
        find_profile(path)
    assert str(raised.value).startswith(f"profile {path}: ")
    assert "\n" not in str(raised.value)


def test_a_profile_is_written_and_read_without_loss():
    for profile in shipped_profiles().values():
        assert OpticsProfile.model_validate(profile.model_dump()) == profile
        assert hash(profile.optics) == hash(profile.optics.model_copy())


def test_every_key_is_explained():
    text = (Path(__file__).parents[2] / "docs" / "optics.md").read_text(encoding="utf-8")
    for profile in shipped_profiles().values():
        for section in ("optics", "fluorophore", "brightness", "background", "camera"):
            assert f"[{section}]" in text
            for key in type(getattr(profile, section)).model_fields:
                assert f"`{key}`" in text
