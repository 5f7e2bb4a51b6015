from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from datasets.augmentation import augment, jitter, mirrored, move, shift_hue, similarities
from datasets.config import AugmentationConfig, StillsConfig
from modules.face_landmarks import NUM_LANDMARKS
from modules.geometry import coordinate_grid
from modules.transform import AFFINE_STD, CONTROL_POINTS, CONTROL_STD, RandomTransform

FLIPS_ONLY = AugmentationConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0)
COLOURS_ONLY = AugmentationConfig(horizontal_flip=False, time_flip=False)


def augment_frames(pair: torch.Tensor, *how) -> torch.Tensor:
    """The frames alone: their landmarks are not known."""
    return augment(pair, unknown(len(pair)), *how)[0]


def move_frames(frames: torch.Tensor, *how, apart: bool) -> torch.Tensor:
    return move(frames, unknown(len(frames)), *how, apart=apart)[0]


def unknown(num: int) -> torch.Tensor:
    return torch.full((num, NUM_LANDMARKS, 2), torch.nan)


def random_images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def random_bytes(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def test_both_frames_get_the_same_change():
    image = random_bytes(3, 24, 32)
    for seed in range(8):
        pair = torch.stack([image, image])
        source, driving = augment_frames(pair, AugmentationConfig(), np.random.default_rng(seed))
        assert torch.equal(source, driving)
        assert source.dtype == torch.uint8
        assert source.shape == image.shape
        assert torch.equal(pair, torch.stack([image, image]))  # is left as it was


def test_all_four_flips_occur_equally_often():
    pair = random_bytes(2, 3, 4, 6)
    rng = np.random.default_rng(0)
    counts = {"none": 0, "mirrored": 0, "exchanged": 0, "both": 0}
    for _ in range(400):
        augmented = augment_frames(pair, FLIPS_ONLY, rng)
        for name, expected in {
            "none": pair,
            "mirrored": pair.flip(-1),
            "exchanged": pair.flip(0),
            "both": pair.flip(0).flip(-1),
        }.items():
            counts[name] += torch.equal(augmented, expected)
    assert sum(counts.values()) == 400
    assert min(counts.values()) > 70


def test_nothing_switched_on_changes_nothing():
    nothing = FLIPS_ONLY.model_copy(update={"horizontal_flip": False, "time_flip": False})
    pair = random_bytes(2, 3, 8, 8)
    assert torch.equal(augment_frames(pair, nothing, np.random.default_rng(0)), pair)


@pytest.mark.parametrize("seed", range(6))
def test_the_jitter_is_that_of_torchvision_in_the_order_and_strength_drawn(seed):
    images = random_bytes(2, 3, 24, 32)
    rng = np.random.default_rng(seed)
    amounts = 0.1 * rng.uniform(-1, 1, size=4)
    colours = images / 255
    for step in rng.permutation(4):
        adjust = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)[step]
        colours = adjust(colours, float(amounts[step] if step == 3 else 1 + amounts[step]))
    jittered = jitter(images, COLOURS_ONLY, np.random.default_rng(seed))
    rounding = 0.5 / 255 + 1e-5
    torch.testing.assert_close(jittered / 255, colours, rtol=0, atol=rounding)


@pytest.mark.parametrize("turns", [-0.5, -0.4, -0.2, -0.1, 0.0, 0.03, 1 / 6, 0.25, 0.5])
def test_hue_is_shifted_as_torchvision_does_it(turns):
    images = random_images(2, 3, 48, 64)
    images[0, :, 0] = 0.3  # grey, of no hue
    images[0, :, 1] = torch.tensor([1.0, 0.0, 0.0])[:, None]
    images[1] = (images[1] * 4).round() / 4  # many equal channels
    torch.testing.assert_close(
        shift_hue(images, turns), F.adjust_hue(images, turns), rtol=0, atol=3e-6
    )


def blobs(*centres: tuple[float, float], side: int = 64) -> torch.Tensor:
    """A frame (1, 3, H, W) that shows a blob at each (x, y) in pixels."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(side)] * 2, indexing="xy"), dim=-1)
    pictures = [
        255 * torch.exp(-(grid - torch.tensor(centre)).square().sum(-1) / 8) for centre in centres
    ]
    return torch.stack(pictures).sum(0).clamp(0, 255).byte().expand(1, 3, side, side)


def centre_of(image: torch.Tensor) -> tuple[float, float]:
    """Locate the one blob of (3, H, W), (x, y)."""
    weights = image[0].double()
    rows, columns = weights.sum(1), weights.sum(0)
    return tuple(
        float((line * torch.arange(len(line))).sum() / line.sum()) for line in (columns, rows)
    )


class Fixed:
    """StepNoise that are all at one end of their range."""

    def __init__(self, *amounts: float) -> None:
        self.amounts = amounts

    def uniform(self, low, high, size):
        return np.broadcast_to(self.amounts, size)

    def standard_normal(self, size):
        return np.zeros(size)


@pytest.mark.parametrize(
    ("change", "amounts", "expected"),
    [
        ({"scale": 0.25}, (1, 0, 0, 0), (31.5 + 15, 31.5)),  # 12 pixels from the middle become 15
        ({"rotation": 30.0}, (0, 1, 0, 0), (31.5 + 12 * 0.866, 31.5 + 6)),  # clockwise
        ({"shift": 0.125}, (0, 0, 1, -1), (43.5 + 7.9, 31.5 - 7.9)),  # right and up
        ({"scale": 0.25, "shift": 0.125}, (1, 0, 1, -1), (31.5 + 15 + 7.9, 31.5 - 7.9)),
    ],
)
def test_frames_are_scaled_turned_and_shifted_as_much_as_configured(change, amounts, expected):
    config = FLIPS_ONLY.model_copy(update=change)
    moved = move_frames(blobs((43.5, 31.5)), config, 0.0, Fixed(*amounts), apart=False)
    assert centre_of(moved[0]) == pytest.approx(expected, abs=0.15)


def test_a_frame_is_reflected_at_its_border_and_bicubic_between_its_pixels():
    frame = random_bytes(1, 3, 33, 65)

    def shifted(share: float) -> np.ndarray:
        config = FLIPS_ONLY.model_copy(update={"shift": share})
        return move_frames(frame, config, 0.0, Fixed(0, 0, 1, 1), apart=False).numpy().astype(float)

    padded = np.pad(frame.numpy(), ((0, 0), (0, 0), (4, 2), (8, 2)), "reflect").astype(float)
    np.testing.assert_array_equal(shifted(1 / 8), padded[..., :33, :65])

    weights = np.array([-0.09375, 0.59375, 0.59375, -0.09375])  # half a pixel down, one right
    rows = sum(w * padded[..., 2 + i : 35 + i, 7:72] for i, w in enumerate(weights))
    np.testing.assert_allclose(shifted(1 / 64), rows.clip(0, 255), atol=0.51)


def test_a_turn_keeps_circles_round_in_a_frame_that_is_not_square():
    config = FLIPS_ONLY.model_copy(update={"rotation": 45.0})
    ((matrix,),) = [similarities(np.array([[0.0, 1.0, 0.0, 0.0]]), config, (48, 64))]
    in_pixels = matrix[:, :2] * np.array([[64 / 64, 64 / 48], [48 / 64, 1]])
    np.testing.assert_allclose(in_pixels @ in_pixels.T, np.eye(2), atol=1e-9)


def test_only_a_warp_or_a_still_moves_the_frames_of_a_pair_apart():
    image = random_bytes(3, 32, 32)
    pair = torch.stack([image, image])
    alike = AugmentationConfig(scale=0.2, shift=0.1, rotation=10.0)
    for seed in range(5):
        source, driving = augment_frames(pair, alike, np.random.default_rng(seed))
        assert torch.equal(source, driving)
        still, _ = augment_frames(pair, COLOURS_ONLY, np.random.default_rng(seed))
        assert not torch.equal(source, still)
    for one in ({"scale": 0.2}, {"shift": 0.1}, {"rotation": 10.0}, {"warp": 0.3}):
        moved = augment_frames(pair, COLOURS_ONLY.model_copy(update=one), np.random.default_rng(0))
        assert not torch.equal(moved, augment_frames(pair, COLOURS_ONLY, np.random.default_rng(0)))
    bent = alike.model_copy(update={"warp": 0.3})
    apart = StillsConfig(root=Path(), warp=0.0)
    for one, still in ((bent, None), (alike, apart)):
        source, driving = augment_frames(pair, one, np.random.default_rng(0), still)
        assert not torch.equal(source, driving)


def test_a_still_is_warped_as_strongly_as_its_own_section_says():
    image = random_bytes(3, 32, 32)
    pair = torch.stack([image, image])
    for of_pairs, of_stills in ((0.5, 0.0), (0.0, 0.5)):
        config = AugmentationConfig(warp=of_pairs)
        still = StillsConfig(root=Path(), warp=of_stills)
        source, driving = augment_frames(pair, config, np.random.default_rng(0), still)
        assert torch.equal(source, driving) == (of_stills == 0)


@pytest.mark.parametrize(
    "wrong", [{"warp": -0.1}, {"warp": 2.1}, {"rotation": -1.0}, {"rotation": 46.0}, {"scale": 0.6}]
)
def test_motions_have_a_range(wrong):
    with pytest.raises(ValueError, match="should be"):
        AugmentationConfig(**wrong)


def test_without_a_motion_the_pixels_stay():
    pair = random_bytes(2, 3, 24, 32)
    rng = np.random.default_rng(0)
    assert torch.equal(move_frames(pair, FLIPS_ONLY, 0.0, rng, apart=True), pair)


def test_a_warp_is_as_smooth_as_one_computed_for_every_pixel():
    ramp = coordinate_grid((129, 97), like=torch.zeros(1)).permute(2, 0, 1)
    frame = (127.5 + 127.5 * ramp[[0, 1, 0]]).round().byte()[None]
    moved = move_frames(frame, FLIPS_ONLY, 2.0, np.random.default_rng(1), apart=False)
    rng = np.random.default_rng(1)
    rng.uniform(-1, 1, size=(1, 4))
    affine = torch.from_numpy(2 * AFFINE_STD * rng.standard_normal((1, 2, 3)))
    control = torch.from_numpy(2 * CONTROL_STD * rng.standard_normal((1, CONTROL_POINTS**2)))
    transform = RandomTransform(affine.float(), control.float())
    field = transform.points(ramp.flatten(1).T[None]).unflatten(1, (129, 97))
    expected = torch.nn.functional.grid_sample(
        frame.float(), field, mode="bicubic", padding_mode="reflection", align_corners=True
    )
    assert (moved - expected).abs().mean() < 0.27  # of which rounding is 0.25


def test_landmarks_follow_every_change_of_their_frames():
    """A blob stands on one landmark of each frame, and is looked for where that has gone."""
    config = AugmentationConfig(
        brightness=0, contrast=0, saturation=0, hue=0, scale=0.15, shift=0.1, rotation=15, warp=0.4
    )
    points, side = ((30.0, 27.0), (36.0, 40.0)), 64
    frames = torch.cat([blobs(point, side=side) for point in points])
    landmarks = torch.zeros(2, NUM_LANDMARKS, 2)
    landmarks[:, 37] = 2 * torch.tensor(points) / (side - 1) - 1
    seen = set()
    for seed in range(12):
        for still in (None, StillsConfig(root=Path(), warp=0.5)):
            rng = np.random.default_rng(seed)
            moved, found = augment(frames, landmarks, config, rng, still)
            mirrored_now = bool((found[:, 44] - found[:, 37]).abs().sum() > 0.02) and (
                centre_error(moved[0], found[0, 44]) < centre_error(moved[0], found[0, 37])
            )
            seen.add(mirrored_now)
            for image, points_found in zip(moved, found, strict=True):
                assert centre_error(image, points_found[44 if mirrored_now else 37]) < 0.6
    assert seen == {False, True}


def centre_error(image: torch.Tensor, position: torch.Tensor) -> float:
    """Measure the distance of the one blob of an image from a position in [-1, 1], in pixels."""
    expected = (position + 1) / 2 * (image.shape[-1] - 1)
    return float(np.linalg.norm(np.subtract(centre_of(image), expected.numpy())))


def test_a_mirrored_face_has_its_left_on_the_left_again():
    landmarks = torch.zeros(1, NUM_LANDMARKS, 2)
    landmarks[0, 36], landmarks[0, 45] = torch.tensor([-0.5, 0.1]), torch.tensor([0.3, 0.2])
    landmarks[0, 48] = torch.tensor([-0.2, 0.6])
    turned = mirrored(landmarks)
    torch.testing.assert_close(turned[0, 36], torch.tensor([-0.3, 0.2]))
    torch.testing.assert_close(turned[0, 45], torch.tensor([0.5, 0.1]))
    torch.testing.assert_close(turned[0, 54], torch.tensor([0.2, 0.6]))
    torch.testing.assert_close(mirrored(turned), landmarks)


def test_landmarks_that_are_not_known_stay_so():
    config = AugmentationConfig(scale=0.1, warp=0.3)
    _, found = augment(random_bytes(2, 3, 24, 32), unknown(2), config, np.random.default_rng(0))
    assert found.isnan().all()


def test_soft_pairs_have_half_the_detail():
    config = FLIPS_ONLY.model_copy(update={"horizontal_flip": False, "soft": 1.0})
    checkers = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    checkers[..., ::2, ::2] = checkers[..., 1::2, 1::2] = 255
    soft = augment_frames(checkers, config, np.random.default_rng(0))
    assert soft.unique().tolist() == [128]
