"""Augment pairs of frames: the same draw for both frames, but for the motion of a still picture.

Facial landmarks follow their frames; unknown ones are NaN and stay so.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.config import AugmentationConfig, StillsConfig
from modules.face_landmarks import MIRRORED
from modules.geometry import coordinate_grid, inverse_2x2, resize
from modules.transform import AFFINE_STD, CONTROL_POINTS, CONTROL_STD, RandomTransform

COARSE = (33, 33)  # points at which a warp is computed; it is smooth, so bilinear in between


def augment(
    pair: Tensor,
    landmarks: Tensor,
    config: AugmentationConfig,
    rng: np.random.Generator,
    still: StillsConfig | None = None,
) -> tuple[Tensor, Tensor]:
    """Flip a pair in space and in time, move it, and change its colours.

    ``pair`` is (2, 3, H, W) uint8, ``landmarks`` (2, 68, 2) in [-1, 1].  With ``still`` both frames
    are one picture, and each is moved by itself.
    """
    mirror, exchange = rng.random(2) < 0.5
    if config.horizontal_flip and mirror:
        pair, landmarks = pair.flip(-1), mirrored(landmarks)
    if config.time_flip and exchange:
        pair, landmarks = pair.flip(0), landmarks.flip(0)
    if still is not None:
        pair, landmarks = move(pair, landmarks, config, still.warp, rng, apart=True)
    elif config.scale or config.shift or config.rotation or config.warp:
        pair, landmarks = move(pair, landmarks, config, config.warp, rng, apart=False)
    pair = jitter(pair, config, rng)
    if config.soft > 0 and rng.random() < config.soft:
        pair = soften(pair)
    return pair, landmarks


def soften(frames: Tensor) -> Tensor:
    """Halve the resolution of frames (N, 3, H, W) uint8 and enlarge them again."""
    half = F.interpolate(frames.float(), scale_factor=0.5, mode="area")
    return F.interpolate(half, frames.shape[-2:], mode="bilinear").round_().byte()


def mirrored(landmarks: Tensor) -> Tensor:
    """Mirror landmarks (N, 68, 2) in [-1, 1], and exchange the indices of left and right ones."""
    return landmarks[:, MIRRORED] * landmarks.new_tensor([-1, 1])


def move(
    frames: Tensor,
    landmarks: Tensor,
    config: AugmentationConfig,
    warp: float,
    rng: np.random.Generator,
    *,
    apart: bool,
) -> tuple[Tensor, Tensor]:
    """Scale, shift and rotate frames (N, 3, H, W) uint8, all alike or each ``apart``.

    Each frame is then warped by itself as in the equivariance loss, ``warp`` times as strongly.
    The landmarks (N, 68, 2) follow.  Outside of its border a frame is reflected.
    """
    num, size = len(frames), frames.shape[-2:]
    likewise = rng.uniform(-1, 1, size=(num if apart else 1, 4))
    similarity = torch.from_numpy(similarities(likewise, config, size)).float().expand(num, 2, 3)
    affine = warp * AFFINE_STD * rng.standard_normal((num, 2, 3))
    control = warp * CONTROL_STD * rng.standard_normal((num, CONTROL_POINTS**2))
    bend = RandomTransform(torch.from_numpy(affine).float(), torch.from_numpy(control).float())

    points = coordinate_grid(COARSE, like=similarity).flatten(0, 1) @ similarity[:, :, :2].mT
    field = bend.points(points + similarity[:, None, :, 2]).unflatten(1, COARSE)
    field = resize(field.permute(0, 3, 1, 2), size).permute(0, 2, 3, 1)
    moved = F.grid_sample(
        frames.float(), field, mode="bicubic", padding_mode="reflection", align_corners=True
    )
    # A frame shows at z what it showed at bend(A z + b): its landmarks go the other way.
    straight = bend.inverse(landmarks) - similarity[:, None, :, 2]
    landmarks = straight @ inverse_2x2(similarity[:, :, :2]).mT
    return moved.round_().clamp_(0, 255).byte(), landmarks


def similarities(
    amounts: np.ndarray, config: AugmentationConfig, size: tuple[int, ...]
) -> np.ndarray:
    """Make the matrices (N, 2, 3) that map a point of the result to a point of the frame.

    ``amounts`` (N, 4) in [-1, 1] are those of scale, rotation, and shift to the right and down.
    """
    factors, turns = 1 + config.scale * amounts[:, 0], np.radians(config.rotation * amounts[:, 1])
    cosines, sines = np.cos(turns) / factors, np.sin(turns) / factors
    height, width = size
    matrices = np.empty((len(amounts), 2, 3))
    matrices[:, 0, 0] = matrices[:, 1, 1] = cosines
    matrices[:, 0, 1], matrices[:, 1, 0] = sines * height / width, -sines * width / height
    matrices[:, :, 2] = -2 * config.shift * amounts[:, 2:] / factors[:, None]
    return matrices


def jitter(images: Tensor, config: AugmentationConfig, rng: np.random.Generator) -> Tensor:
    """Change the colours of images (B, 3, H, W) uint8: one draw for all, steps in random order.

    The steps are computed in float32 in [0, 1] and rounded once, at the end.
    """
    # Imported here: it takes a second, for which an animation need not wait
    from torchvision.transforms.v2 import functional as F

    steps = (
        (F.adjust_brightness, 1.0, config.brightness),
        (F.adjust_contrast, 1.0, config.contrast),
        (F.adjust_saturation, 1.0, config.saturation),
        (shift_hue, 0.0, config.hue),
    )
    amounts = rng.uniform(-1, 1, size=len(steps))
    order = rng.permutation(len(steps))
    if not any(strength > 0 for _, _, strength in steps):
        return images
    colours = images.float().div_(255)
    for step in order:
        adjust, neutral, strength = steps[step]
        if strength > 0:
            colours = adjust(colours, neutral + strength * amounts[step])
    return colours.mul_(255).round_().byte()


def shift_hue(images: Tensor, turns: float) -> Tensor:
    """Turn the colour wheel of images (B, 3, H, W) in [0, 1]; value and saturation stay.

    Equals torchvision's ``adjust_hue``, in a tenth of its time.  A third of a turn moves the
    channels round.  A turn by s sixths, 0 <= s <= 1, of a colour with minimum 0 and maximum 1 lets
    red fall to 1 + red - green - s where blue is 0, and rise to red - green + s where blue is 1;
    where blue lies between, both are beyond the same end of [0, 1].  Of all colours therefore

        red' = clamp(red - green - (1 - 2 s) blue + (1 - s) (maximum + minimum), minimum, maximum)

    and so for green' with (green, blue, red) and blue' with (blue, red, green) in the places of
    (red, green, blue).  Backwards the other two channels change places.
    """
    thirds = round(3 * turns)
    sixths = 6 * turns - 2 * thirds  # in [-1, 1]
    colours = images.roll(thirds, dims=1).unbind(1)
    maximum = torch.maximum(torch.maximum(colours[0], colours[1]), colours[2])
    minimum = torch.minimum(torch.minimum(colours[0], colours[1]), colours[2])
    middle = (maximum + minimum).mul_(1 - abs(sixths))
    turned = torch.empty_like(images)
    for channel, result in enumerate(turned.unbind(1)):
        following, last = colours[(channel + 1) % 3], colours[(channel + 2) % 3]
        if sixths < 0:
            following, last = last, following
        torch.sub(middle, following, out=result).add_(colours[channel])
        result.sub_(last, alpha=1 - 2 * abs(sixths))
        torch.clamp(result, minimum, maximum, out=result)
    return turned
