"""Translation of configurations of the published code and of FOMM into ours.

Both have the same sections (``model_params``, ``train_params``, ...); FOMM has no memory.  Settings
that are fixed here to another value, or that have no counterpart, are listed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

SECTIONS = {"dataset_params", "model_params", "train_params"}  # any of them identifies such a file
IGNORED = ("visualizer_params", "reconstruction_params", "animate_params", "train_avd_params")
MEMORY = ("model_params.generator_params.memsize", "train_params.loss_weights.feat_consistent")

DETECTOR, GENERATOR = "model_params.kp_detector_params", "model_params.generator_params"
MOTION, DISCRIMINATOR = f"{GENERATOR}.dense_motion_params", "model_params.discriminator_params"
FLIPS, JITTER = ("horizontal_flip", "time_flip"), ("brightness", "contrast", "saturation", "hue")
AUGMENTATION, WEIGHTS = "dataset_params.augmentation_params", "train_params.loss_weights"


def inverse(factor: float) -> int:
    """Turn a scale factor into a factor of downsampling."""
    return round(1 / factor)


def only(weights: list[float]) -> float:
    """Take the common weight of all layers.  Raises ValueError where they differ."""
    if len(set(weights)) != 1:
        raise ValueError("the layers differ, and here they have one weight")
    return weights[0]


def same(value: Any) -> Any:
    """Keep a value."""
    return value


# Their path -> ours, and the conversion of the value
MAPPED: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "dataset_params.root_dir": ("data.root", same),
    "dataset_params.frame_shape": ("data.size", lambda shape: shape[:2]),
    "dataset_params.image_shape": ("data.size", lambda shape: shape[:2]),
    "dataset_params.id_sampling": ("data.identity_sampling", same),
    **{
        f"{AUGMENTATION}.{group}.{name}": (f"data.augmentation.{name}", same)
        for group, names in {"flip_param": FLIPS, "jitter_param": JITTER}.items()
        for name in names
    },
    "model_params.common_params.num_kp": ("model.num_kp", same),
    **{
        f"{theirs}.{name}": (f"{ours}.{setting}", convert)
        for theirs, ours in (
            (DETECTOR, "model.keypoint_detector"),
            (MOTION, "model.dense_motion"),
            (DISCRIMINATOR, "discriminator"),
        )
        for name, setting, convert in (
            ("block_expansion", "width", same),
            ("max_features", "max_width", same),
            ("num_blocks", "depth", same),
            ("scale_factor", "downsample", inverse),
            ("temperature", "temperature", same),
        )
    },
    f"{GENERATOR}.block_expansion": ("model.generator.width", same),
    f"{GENERATOR}.max_features": ("model.generator.max_width", same),
    f"{GENERATOR}.num_down_blocks": ("model.generator.depth", same),
    "train_params.num_epochs": ("train.epochs", same),
    "train_params.num_repeats": ("data.repeats", same),
    "train_params.epoch_milestones": ("train.milestones", same),
    "train_params.gamma": ("train.gamma", same),
    "train_params.batch_size": ("train.batch_size", same),
    "train_params.lr_generator": ("train.learning_rate.generator", same),
    "train_params.lr_kp_detector": ("train.learning_rate.detector", same),
    "train_params.lr_discriminator": ("train.learning_rate.discriminator", same),
    "train_params.scales": ("loss.scales", lambda factors: [inverse(factor) for factor in factors]),
    f"{WEIGHTS}.generator_gan": ("loss.adversarial", same),
    f"{WEIGHTS}.feature_matching": ("loss.feature_matching", only),
    f"{WEIGHTS}.perceptual": ("loss.perceptual", only),
    f"{WEIGHTS}.equivariance_value": ("loss.equivariance_value", same),
    f"{WEIGHTS}.equivariance_jacobian": ("loss.equivariance_jacobian", same),
    f"{WEIGHTS}.kp_distance": ("loss.keypoint_distance", same),
    f"{WEIGHTS}.feat_consistent": ("loss.memory_consistency", same),
}
# Values that are fixed here
FIXED: dict[str, Any] = {
    "model_params.common_params.num_channels": 3,
    "model_params.common_params.estimate_jacobian": True,
    f"{GENERATOR}.estimate_occlusion_map": True,
    f"{DISCRIMINATOR}.scales": [1],
    f"{DISCRIMINATOR}.use_kp": True,
    f"{WEIGHTS}.discriminator_gan": 1,
    "train_params.transform_params.sigma_affine": 0.05,
    "train_params.transform_params.sigma_tps": 0.005,
    "train_params.transform_params.points_tps": 5,
}
# Our values for settings that are missing there, where our defaults differ
ABSENT: dict[str, Any] = {
    **{f"data.augmentation.{name}": False for name in FLIPS},
    **{f"data.augmentation.{name}": 0.0 for name in JITTER},
    "loss.keypoint_distance": 0.0,
    "loss.memory_consistency": 0.0,
    "train.milestones": [],
}


class Translation(NamedTuple):
    """Settings translated from a foreign configuration."""

    settings: dict[str, Any]  # by dotted path
    left_out: list[str]  # path=value, with their paths


def is_foreign(sections: Iterable[Any]) -> bool:
    """Whether sections of these names belong to the published code or to FOMM."""
    return not SECTIONS.isdisjoint(sections)


def translate(settings: Mapping[str, Any], name: str) -> Translation:
    """Translate foreign settings, for a run of this name."""
    found: dict[str, Any] = {"name": name, **ABSENT}
    left_out: list[str] = []
    theirs = flattened({key: x for key, x in settings.items() if key not in IGNORED})
    if not any(path in theirs for path in MEMORY):
        found["model.memory"] = None
    for path, value in theirs.items():
        if path in MAPPED:
            ours, convert = MAPPED[path]
            try:
                found[ours] = convert(value)
                continue
            except (TypeError, ValueError, ZeroDivisionError):
                pass
        unused = path.startswith(f"{WEIGHTS}.") and value == 0
        as_here = path in FIXED and FIXED[path] == value
        if not unused and not as_here:
            left_out.append(f"{path}={value}")
    left_out += [section for section in IGNORED if section in settings]
    return Translation(found, left_out)


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings to dotted paths."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        path = f"{prefix}{name}"
        found |= flattened(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return found
