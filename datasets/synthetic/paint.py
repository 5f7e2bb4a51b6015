"""Paint every part of a person: skin, face, hair and clothes."""

import numpy as np

from datasets.synthetic.canvas import Canvas, strands, tint
from datasets.synthetic.features import Brow, Eye, Mouth, arc, brows, bump, eyes, mouth, smoothstep
from datasets.synthetic.motion import Pose
from datasets.synthetic.person import Identity
from datasets.synthetic.surface import EAR


def paint(part: str, canvas: Canvas, identity: Identity, pose: Pose) -> None:
    """Paint the points of a ``part``, named as in Surface."""
    if part == "head":
        paint_head(canvas, identity, pose)
    else:
        _PAINTERS[part](canvas, identity)


def _paint_hair(canvas: Canvas, identity: Identity) -> None:
    lock = strands(identity.texture, canvas.angle, 0.4 * canvas.y, identity.curl)
    canvas.fill(np.asarray(identity.hair) * (0.5 + 0.7 * lock)[:, None], gloss=0.25)


def _paint_ear(canvas: Canvas, identity: Identity) -> None:
    canvas.fill(tint(identity.skin, 0.96) * [1.0, 0.9, 0.88], gloss=0.1)
    y, z = EAR
    canvas.shade(0.5 * bump(canvas.z, canvas.y, (z + 0.01, y), (0.05, 0.1)))


def _paint_neck(canvas: Canvas, identity: Identity) -> None:
    canvas.fill(identity.skin, gloss=0.08)
    canvas.shade(_shadow_of_chin(canvas))


def _shadow_of_chin(canvas: Canvas) -> np.ndarray:
    return 0.45 * smoothstep(1.4, 0.9, canvas.y)


def _paint_torso(canvas: Canvas, identity: Identity) -> None:
    """Paint a pullover with a collar of another colour, open at the neck."""
    canvas.fill(identity.cloth, gloss=0.03)
    stripes = smoothstep(0.4, 0.6, 0.5 + 0.5 * np.sin(26 * canvas.y))
    canvas.over(identity.trim, identity.stripes * stripes)
    in_front = canvas.z > -0.2
    opening = identity.neckline * in_front * np.clip(1 - np.abs(canvas.x) / 0.4, 0, 1)
    below = canvas.y - 1.18 - opening  # the edge of the collar
    canvas.over(identity.trim, 0.85 * smoothstep(0.075, 0.06, below))
    canvas.shade(0.3 * smoothstep(0.3, 0.0, below))
    skin = canvas.patch(below < 0.01)
    skin.over(identity.skin, smoothstep(0.01, -0.01, below[below < 0.01]), gloss=0.08)
    skin.shade(_shadow_of_chin(skin) * smoothstep(0.01, -0.01, below[below < 0.01]))


_PAINTERS = {
    "hair": _paint_hair,
    "ear": _paint_ear,
    "neck": _paint_neck,
    "torso": _paint_torso,
}


def paint_head(canvas: Canvas, identity: Identity, pose: Pose) -> None:
    """Paint the whole head, from the skin outwards."""
    canvas.fill(identity.skin, gloss=0.16)
    face = canvas.patch((canvas.z > 0.2) & (canvas.hair < 0.15))
    lips = mouth(identity, pose)
    _complexion(face, identity)
    if identity.beard:
        _beard(canvas, identity, lips)
    _nostrils(face, identity)
    _mouth(face, identity, lips)
    for eye in eyes(identity, pose):
        _eye(face.near((eye.x, eye.y), (1.5 * eye.width, 0.18)), identity, eye)
    for brow in brows(identity, pose):
        _brow(face.near((brow.x, brow.y), (1.2 * brow.width, 0.15)), identity, brow)
    _scalp(canvas.patch(canvas.hair > -0.12), identity)


def _complexion(face: Canvas, identity: Identity) -> None:
    """Paint rosy cheeks and nose, and shade in the hollows."""
    x, y, tip = face.x, face.y, identity.nose_y
    blush = bump(x, y, (0, tip), (0.14, 0.1))
    shadow = 0.2 * bump(x, y, (0, tip + 0.13), (0.13, 0.035))
    shadow += 0.25 * bump(x, y, (0, identity.mouth_y + 0.17), (0.16, 0.05))
    for side in (-1, 1):
        blush += 0.9 * bump(x, y, (side * 0.42, 0.3), (0.2, 0.16))
        inner_corner = (side * (identity.eye_x - 0.1), identity.eye_y - 0.05)
        shadow += 0.22 * bump(x, y, inner_corner, (0.1, 0.09))
        shadow += 0.12 * bump(x, y, (side * identity.eye_x, identity.eye_y + 0.11), (0.14, 0.03))
    face.over(tint(identity.skin, 1.0) * [1.0, 0.8, 0.78], 0.55 * blush)
    face.shade(shadow)


def _nostrils(face: Canvas, identity: Identity) -> None:
    for side in (-1, 1):
        centre = (side * 0.55 * identity.nose_width, identity.nose_y + 0.075)
        patch = face.near(centre, (0.12, 0.08))
        radii = (0.36 * identity.nose_width, 0.018 + face.soft / 2)
        patch.over(tint(identity.skin, 0.25), 0.75 * bump(patch.x, patch.y, centre, radii))


def _mouth(face: Canvas, identity: Identity, lips: Mouth) -> None:
    patch = face.near((0, lips.y + lips.opening / 2), (1.1 * lips.width, 0.3))
    x, y, soft = patch.x, patch.y, patch.soft
    upper, lower = lips.upper_inner(x), lips.lower_inner(x)
    between_corners = smoothstep(1.02, 0.94, np.abs(lips.along(x)))

    rim = 1.6 * soft  # lips have no sharp edge
    upper_lip = smoothstep(-rim, rim, y - lips.upper_outer(x)) * smoothstep(rim, -rim, y - upper)
    lower_lip = smoothstep(rim, -rim, y - lips.lower_outer(x)) * smoothstep(-rim, rim, y - lower)
    patch.over(tint(identity.lips, 0.84), 0.85 * between_corners * upper_lip, gloss=0.3)
    patch.over(identity.lips, 0.85 * between_corners * lower_lip, gloss=0.5)

    seam = 0.006  # a closed mouth still shows a line
    gap = smoothstep(-soft, soft, y - upper + seam) * smoothstep(soft, -soft, y - lower - seam)
    patch.over((0.16, 0.05, 0.05), 0.95 * between_corners * gap, gloss=0.0)
    _tongue_and_teeth(patch, lips)


def _tongue_and_teeth(patch: Canvas, lips: Mouth) -> None:
    x, y, soft = patch.x, patch.y, patch.soft
    along = lips.along(x)
    inside = smoothstep(0, 2 * soft, lips.lower_inner(x) - y)
    inside *= smoothstep(0, 2 * soft, y - lips.upper_inner(x))
    tongue = bump(x, y, (0, lips.y + 0.92 * lips.opening), (0.6 * lips.width, 0.075))
    patch.over((0.62, 0.26, 0.26), 0.9 * tongue * inside)
    lower_edge = lips.y - 0.12 * lips.opening + 0.065 - 0.03 * along**2
    teeth = smoothstep(soft, -soft, y - lower_edge) * smoothstep(0.86, 0.6, np.abs(along))
    gaps = 0.1 * np.cos(np.pi * x / 0.045) ** 16
    patch.over(np.array([0.93, 0.9, 0.84]) * (1 - gaps[:, None]), teeth * inside)


def _eye(patch: Canvas, identity: Identity, eye: Eye) -> None:
    soft = patch.soft
    along, down = eye.local(patch.x, patch.y)
    upper, lower = -eye.above * arc(along), eye.below * arc(along)
    between_corners = smoothstep(1.08, 0.98, np.abs(along))
    patch.shade(0.28 * bump(along, down, (0.1, -eye.above - 0.05), (1.0, 0.045)))

    opening = smoothstep(-soft, soft, down - upper) * smoothstep(soft, -soft, down - lower)
    opening *= between_corners
    patch.over((0.93, 0.91, 0.89), opening, gloss=0.05)
    _iris(patch, identity, eye, opening)
    shadow_of_lid = smoothstep(0.035, 0.0, down - upper)
    patch.over((0.25, 0.16, 0.13), 0.5 * opening * shadow_of_lid)

    fold = -(max(eye.above, 0.0) + 0.03) * arc(0.9 * along)
    lash = 0.011 + 0.6 * soft
    ends = smoothstep(1.12, 0.85, np.abs(along))
    patch.over(tint(identity.skin, 0.5), 0.45 * ends * _line(down - fold, 0.012 + soft))
    patch.over(tint(identity.skin, 0.4), 0.4 * ends * _line(down - lower, lash))
    patch.over((0.1, 0.07, 0.06), 0.85 * ends * _line(down - upper, lash), gloss=0.05)


def _line(distance: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((distance / width) ** 2))


def _iris(patch: Canvas, identity: Identity, eye: Eye, opening: np.ndarray) -> None:
    radius = np.hypot(patch.x - eye.pupil[0], patch.y - eye.pupil[1]) / eye.iris
    soft = patch.soft / eye.iris
    brightness = 0.75 + 0.5 * smoothstep(0.2, 0.8, radius) - 0.7 * smoothstep(0.75, 1.0, radius)
    iris = np.clip(np.asarray(identity.iris) * brightness[:, None], 0, 1)
    patch.over(iris, opening * smoothstep(1 + soft, 1 - soft, radius))
    patch.over((0.02, 0.02, 0.02), opening * smoothstep(0.42 + soft, 0.42 - soft, radius))
    glint = (eye.pupil[0] + 0.022, eye.pupil[1] - 0.024)
    size = 0.012 + patch.soft / 3
    patch.over((1, 1, 1), 0.9 * opening * bump(patch.x, patch.y, glint, (size, size)))


def _brow(patch: Canvas, identity: Identity, brow: Brow) -> None:
    along = brow.along(patch.x)
    distance = np.abs(patch.y - brow.middle(along)) / (brow.half_thickness(along) + 0.012)
    hairs = strands(identity.texture, 1.2 * patch.x + 0.7 * brow.side * patch.y, 0.5 * patch.y)
    opacity = smoothstep(1.1, 0.3, distance) * smoothstep(1.12, 0.85, np.abs(along))
    patch.over(tint(identity.hair, 0.75), 0.85 * opacity * (0.6 + 0.4 * hairs), gloss=0.05)


def _beard(canvas: Canvas, identity: Identity, lips: Mouth) -> None:
    """Paint the beard along the jaw, over chin and upper lip, but not on the lips."""
    patch = canvas.patch((canvas.y > 0.1) & (canvas.z > -0.2))
    x, y = patch.x, patch.y
    upper_lip = (identity.nose_y + 0.12 + lips.y - lips.upper) / 2
    moustache = bump(x, y, (0, upper_lip), (0.26, 0.045))
    edge = lips.y - 0.06 - 0.4 * smoothstep(0.25, 0.65, np.abs(x))  # rises to the sideburns
    free = bump(x, y, (0, lips.y + lips.drop / 2), (0.24, 0.1 + lips.drop / 2))
    jaw = smoothstep(0, 0.12, y - edge) * smoothstep(0.75, 0.35, free)
    hairs = strands(identity.texture, 0.7 * patch.angle, 2.5 * y)
    opacity = identity.beard * np.maximum(moustache, jaw) * (0.75 + 0.25 * hairs)
    patch.over(tint(identity.hair, 0.9), opacity, gloss=0.08)


def _scalp(patch: Canvas, identity: Identity) -> None:
    """Paint hair with an uneven edge, and its soft shadow on the skin in front of it."""
    lock = strands(identity.texture, patch.angle, 0.4 * patch.y, identity.curl)
    depth = patch.hair + 0.05 * (lock - 0.5)
    patch.shade(0.3 * smoothstep(-0.1, 0.0, depth))
    hair = np.asarray(identity.hair) * (0.65 + 0.7 * lock)[:, None]
    patch.over(hair, smoothstep(-0.01, 0.035, depth), gloss=0.3 - 0.15 * identity.curl)
