from pathlib import Path

import numpy as np
import pytest

from cellsynth.errors import InputError
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.shapes.cells import LeftOut, cut_cells
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.masks import open_masks
from cellsynth.shapes.store import build_store

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SHAPE = (6, 6, 400)


def masks_of(labels, lineage=None, name="m", **options):
    labels = np.asarray(labels)
    options = {"voxel_size_um": (1.0, 1.0, 1.0), "frame_interval_s": 60.0} | options
    return MaskSequence(
        name,
        len(labels),
        labels.shape[1:],
        read_frame=lambda t: labels[t],
        lineage=lineage,
        **options,
    )


def drawn(picture, *, border=()):
    """Masks and lineage of a picture: a row a track, a column a frame, ``#`` where it is.

    ``1 ####..`` is track 1, ``2<1 ..###`` is track 2 whose parent is 1, and ``.`` before and after
    is no frame of the track, ``?`` one that it loses. ``border`` has (label, frame) pairs in which
    the cell touches the border.
    """
    rows = [line.split() for line in picture.strip().splitlines()]
    labels = np.zeros((max(len(r[1]) for r in rows), *SHAPE), dtype=np.uint16)
    tracks = []
    for head, row in rows:
        label, _, parent = head.partition("<")
        alive = [t for t, c in enumerate(row) if c != "."]
        tracks.append(Tracklet(int(label), alive[0], alive[-1], int(parent or 0)))
        for t in alive:
            if row[t] == "#":
                low = 0 if (int(label), t) in border else 2
                x = 5 * int(label)
                labels[t, 2:4, low:4, x : x + 2 + t % 2] = int(label)
    return masks_of(labels, Lineage(tuple(tracks)))


def cut(source, n_frames=None):
    """(labels of the first and last frame, frames) of each sequence, and what was left out."""
    cells, left_out = cut_cells([source], n_frames=n_frames)
    found = [(sorted(c.labels[0]), sorted(c.labels[-1]), c.frames[0], c.frames[-1]) for c in cells]
    for cell in cells:
        assert list(cell.frames) == list(range(cell.frames[0], cell.frames[-1] + 1))
        for t, labels, mask in zip(cell.frames, cell.labels, cell.masks, strict=True):
            expected = np.argwhere(np.isin(source.frame(t), list(labels)))
            np.testing.assert_array_equal(np.argwhere(mask.voxels()) + mask.offset, expected)
    return found, [str(entry) for entry in left_out]


def test_tracks_of_one_length():
    found, left_out = cut(drawn("1 #####\n2 #####"))
    assert found == [([1], [1], 0, 4), ([2], [2], 0, 4)]
    assert left_out == []


def test_windows_follow_each_other():
    source = drawn("1 .##########")
    assert cut(source, 3)[0] == [([1], [1], a, a + 2) for a in (1, 4, 7)]
    assert cut(source, 10)[0] == [([1], [1], 1, 10)]
    names = [cell.name for cell in cut_cells([source], n_frames=4)[0]]
    assert names == ["m track 1 frames 1-4", "m track 1 frames 5-8"]


@pytest.mark.parametrize(("longest", "expected"), [(29, 29), (30, 30), (31, 30), (70, 30)])
def test_default_number_of_frames(longest, expected):
    source = drawn("1 " + "#" * longest + "\n2 " + "#" * 12)
    cells, left_out = cut_cells([source])
    assert {cell.n_frames for cell in cells} == {expected}
    assert left_out == [LeftOut("m track 2", f"too short: 12 frames, {expected} are needed")]


def test_division_in_the_middle():
    found, left_out = cut(drawn("1 #####.....\n2<1 .....#####\n3<1 .....#####"), 10)
    assert found == [([1], [2, 3], 0, 9)]
    assert left_out == []


@pytest.mark.parametrize(
    ("picture", "begin"),
    [
        ("1 ########....\n2<1 ........####\n3<1 ........####", 4),  # daughters are short
        ("1 ##..........\n2<1 ..##########\n3<1 ..#########.", 0),  # the mother is
        ("1 ######......\n2<1 ......######\n3<1 ......######", 2),  # room on both sides
        ("1 #######.....\n2<1 .......#####\n3<1 .......####.", 3),
    ],
)
def test_division_as_near_the_middle_as_it_can_be(picture, begin):
    found, _ = cut(drawn(picture), 8)
    assert found[0] == ([1], [2, 3], begin, begin + 7)


def test_default_length_counts_a_whole_family():
    found, left_out = cut(drawn("1 ###....\n2<1 ...####\n3<1 ...####"))
    assert found == [([1], [2, 3], 0, 6)]
    assert left_out == []


def test_what_a_division_leaves_over_is_used():
    picture = "1 ########............\n2<1 ........############\n3<1 ........#####......."
    found, left_out = cut(drawn(picture), 4)
    # frames 6-9 show the division; mother before, daughters after
    assert found == [
        ([1], [2, 3], 6, 9),
        ([1], [1], 0, 3),
        ([2], [2], 10, 13),
        ([2], [2], 14, 17),
    ]
    assert left_out == []


def test_divisions_that_follow_each_other_share_no_frame():
    """A daughter that divides soon has given frames to the division that she comes from."""
    picture = """
        4 ##########................................
        3<4 ..........##############................
        2<4 ..........################################
        1<3 ........................##################
        5<3 ........................##################"""
    found, left_out = cut(drawn(picture), 20)
    # Her own division begins where that ends; the mother's label comes after the daughter's.
    assert found == [([3], [1, 5], 20, 39), ([4], [2, 3], 0, 19), ([2], [2], 20, 39)]
    assert left_out == []


def test_a_division_whose_mother_has_no_frames_left():
    picture = """
        1 ####....
        2<1 ....##..
        3<1 ....####
        4<2 ......##
        5<2 ......##"""
    found, left_out = cut(drawn(picture), 4)
    assert found == [([1], [2, 3], 2, 5)]
    assert left_out == [
        "m division of track 2: 0 frames before and 2 after it, 4 are needed in all",
        "m track 4: too short: 2 frames, 4 are needed",
        "m track 5: too short: 2 frames, 4 are needed",
    ]


def test_division_whose_daughter_leaves():
    picture = "1 ######......\n2<1 ......######\n3<1 ......######"
    found, left_out = cut(drawn(picture, border={(3, 7)}), 6)
    assert found == [([1], [2, 3], 1, 6)]  # one frame of the daughters is enough
    assert left_out == ["m track 3: leaves the field: touches the border of the image in frame 7"]
    found, left_out = cut(drawn(picture, border={(3, 6)}), 6)
    assert found == [([1], [1], 0, 5), ([2], [2], 6, 11)]
    assert left_out == [
        "m division of track 1: track 3 leaves the field: touches the border of the image in "
        "frame 6",
        "m track 3: leaves the field: touches the border of the image in frame 6",
    ]


def test_divisions_that_cannot_be_used():
    triple = "1 ###...\n2<1 ...###\n3<1 ...###\n4<1 ...###"
    found, left_out = cut(drawn(triple), 3)
    assert [f[0] for f in found] == [[1], [2], [3], [4]]
    assert left_out == ["m division of track 1: into 3, expected 2 daughters"]
    late = "1 ###....\n2<1 ...####\n3<1 ....###"
    _, left_out = cut(drawn(late), 3)
    assert left_out == [
        "m division of track 1: loses frames: it ends in frame 2, but track 3 begins in frame 4"
    ]
    short = "1 ##...\n2<1 ..###\n3<1 ..#.."
    source = masks_of(
        np.concatenate([drawn(short).frame(t)[None] for t in range(5)]), drawn(short).lineage
    )
    other = drawn("1 #####")
    _, left_out = cut_cells([source, other], n_frames=5)
    assert str(left_out[0]) == (
        "m division of track 1: 2 frames before and 1 after it, 5 are needed in all"
    )


def test_one_frame_has_no_division():
    found, _ = cut(drawn("1 ##..\n2<1 ..##\n3<1 ..##"), 1)
    assert len(found) == 6


def test_track_that_leaves_the_field():
    picture = "1 ########\n2 ########"
    found, left_out = cut(drawn(picture, border={(2, 5)}))
    assert found == [([1], [1], 0, 7)]
    assert left_out == ["m track 2: leaves the field: touches the border of the image in frame 5"]
    found, left_out = cut(drawn(picture, border={(2, 5)}), 4)
    assert found == [([1], [1], 0, 3), ([1], [1], 4, 7), ([2], [2], 0, 3)]
    assert left_out == [
        "m track 2: leaves the field: touches the border of the image in frame 5; 1 × 4 other "
        "frames of it are used"
    ]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [0, -1])
def test_every_border_counts(axis, side):
    labels = np.zeros((2, 5, 6, 7), dtype=np.uint8)
    labels[:, 2, 2:4, 3] = 1
    np.moveaxis(labels[1], axis, 0)[side, 2, 3] = 1
    with pytest.raises(InputError, match=r"m track 1: leaves the field: .* in frame 1"):
        cut_cells([masks_of(labels)], n_frames=2)


def test_track_that_loses_frames():
    found, left_out = cut(drawn("1 ##?###\n2 ######"), 6)
    assert found == [([2], [2], 0, 5)]
    assert left_out == ["m track 1: loses frame 2"]


def test_single_child_continues_its_parent():
    found, left_out = cut(drawn("1 ###...\n4<1 ...###\n3 ######"))
    assert found == [([1], [4], 0, 5), ([3], [3], 0, 5)]
    assert left_out == []
    _, left_out = cut(drawn("1 ##....\n4<1 ...###\n3 ######"))
    assert left_out == ["m track 1: loses frame 2"]


def test_labels_without_lineage():
    source = drawn("1 ..####\n2 ######\n7 ##?###")
    labels = np.stack([source.frame(t) for t in range(6)])
    found, left_out = cut(masks_of(labels), 4)
    assert found == [([1], [1], 2, 5), ([2], [2], 0, 3)]
    assert left_out == ["m track 7: loses frame 2"]


def test_binary_cell_that_divides():
    labels = np.zeros((4, 8, 8, 16), dtype=np.uint8)
    labels[:2, 2:5, 2:5, 4:9] = 255
    labels[2:, 2:5, 2:5, 2:5] = labels[2:, 2:5, 2:5, 9:13] = 255
    (cell,), _ = cut_cells([masks_of(labels)])
    assert [mask.volume for mask in cell.masks] == [45, 45, 63, 63]
    assert cell.labels == (frozenset({255}),) * 4


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int32, np.uint32, np.uint64, np.int64])
def test_any_whole_numbers(dtype):
    labels = np.zeros((1, 8, 8, 8), dtype=dtype)
    labels[0, 2:4, 2:4, 2:4] = top = 1 if dtype is np.bool_ else min(3_000_000, np.iinfo(dtype).max)
    if dtype is not np.bool_:
        labels[0, 5:7, 5:7, 5:7] = 7
    cells, _ = cut_cells([masks_of(labels)])
    assert [cell.labels[0] for cell in cells][-1] == {int(top)}
    assert [cell.masks[0].offset for cell in cells][-1] == (2, 2, 2)
    assert {cell.masks[0].volume for cell in cells} == {8}


def test_several_sources_have_one_length():
    sources = [drawn("1 #########"), drawn("1 ####"), drawn("1 #####\n3 #########")]
    seen = []
    cells, left_out = cut_cells(sources, on_progress=lambda *step: seen.append(step))
    assert [cell.n_frames for cell in cells] == [9, 9]
    assert [cell.source for cell in cells] == [sources[0], sources[2]]
    assert len(left_out) == 2
    assert seen == [(i + 1, 22) for i in range(22)]


def test_unlisted_label_is_reported():
    source = drawn("1 ####\n2 ####")
    listed = Lineage(source.lineage.tracklets[:1])
    labels = np.stack([source.frame(t) for t in range(4)])
    found, left_out = cut(masks_of(labels, listed))
    assert found == [([1], [1], 0, 3)]
    assert left_out == ["m label 2: not listed as a track"]


def test_no_usable_track():
    source = drawn("1 ####\n2 ####\n3 ####\n4 ####\n5 ####", border={(1, 3)})
    message = (
        "no usable track of 6 frames: m track 1: leaves the field: touches the border of the image "
        "in frame 3; m track 2: too short: 4 frames, 6 are needed; .* and 2 more"
    )
    with pytest.raises(InputError, match=message):
        cut_cells([source], n_frames=6)
    always = {(1, t) for t in range(4)}
    with pytest.raises(InputError, match=r"no usable track .* touches the border"):
        cut_cells([drawn("1 ####", border=always)])


def test_nothing_to_cut():
    with pytest.raises(InputError, match="m: all 3 frames are background"):
        cut_cells([masks_of(np.zeros((3, 4, 4, 4), np.uint8))])
    with pytest.raises(InputError, match="no mask sequences"):
        cut_cells([])
    with pytest.raises(InputError, match="at least 1, got 0"):
        cut_cells([drawn("1 ##")], n_frames=0)


def test_broken_lineage():
    source = drawn("1 ####")
    labels = np.stack([source.frame(t) for t in range(4)])
    lineage = Lineage((Tracklet(1, 0, 9),))
    with pytest.raises(InputError, match=r"m: lineage frame 9: .*the sequence has frames 0 … 3"):
        cut_cells([masks_of(labels, lineage)])


# --- real data, beside the project ------------------------------------------------------------


def need(folder):
    if not (DATA / folder).is_dir():
        pytest.skip(f"needs ../shared/data/{folder}")
    return DATA / folder


def test_real_tracked_nuclei(tmp_path):
    voxel_size_um = (2.0, 0.208, 0.208)
    sources = open_masks(need("mouse_embryo_nuclei_ctc"), voxel_size_um=voxel_size_um)
    cells, left_out = cut_cells(sources)
    assert [cell.n_frames for cell in cells] == [15] * 8
    assert left_out == []
    found = build_store(tmp_path / "store", cells[:2])
    for i in range(2):
        for t in (0, 14):
            source = sources[0].frame(t) == i + 1
            grid, _ = found.grid(i, t)
            assert found.mask(i, t).sum() == source.sum()
            assert grid.voxel_size_um(found.half_extent_um) == pytest.approx(voxel_size_um)


def test_real_stack():
    stack = need("celegans_neurites") / "ABplppaappa_t321-359.tif"
    cells, left_out = cut_cells(open_masks(stack, voxel_size_um=(0.08, 0.08, 0.08)))
    assert [cell.n_frames for cell in cells] == [30]
    assert left_out == []
