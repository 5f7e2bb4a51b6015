"""Registry of all metrics: the columns that each fills, and the function that makes it.

``METRICS`` is the one place where a metric is added.  Columns appear in results, tables and files
in the order of this list.  The functions import their metric when they are called, so that reading
a result loads no network.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from utils.errors import InputError

if TYPE_CHECKING:
    from evaluation.metrics.inputs import MetricInputs


class Column(NamedTuple):
    """Title and direction of one number; that of a clip is repeated at each of its frames."""

    title: str
    better: Literal["lower", "higher"]
    digits: int  # after the point, in tables
    needs_truth: bool = True  # compares with the real frame as the truth: same identity only


# A FrameMetric, ClipMetric or FeatureExtractor, as the entry says, and the network that computes
# it, "" for a formula
MetricAndSource = tuple[Any, str]


class RegisteredMetric(NamedTuple):
    """Entry of the registry."""

    columns: Mapping[str, Column]
    make: "Callable[[MetricInputs, Sequence[str]], MetricAndSource]"  # of the wanted columns
    measures: Literal["frame", "clip", "all frames"] = "frame"


def make_pixels(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.pixels import PictureMetrics

    return PictureMetrics(columns), ""


def make_sharpness(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.pixels import Sharpness

    return Sharpness(), ""


def make_lpips(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.lpips import Lpips

    metric = Lpips("vgg" if "lpips_vgg" in columns else "alex", columns, inputs.device)
    return metric, inputs.named_weights(metric.weights)


def make_keypoint_distance(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.landmarks import KeypointDistance

    detector, name = inputs.landmarks
    return KeypointDistance(detector), name


def make_identity_distance(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.identity import IdentityDistance, OpenFaceEmbedder

    path = inputs.file("openface")
    embedder = OpenFaceEmbedder(path, inputs.device)
    return IdentityDistance(embedder), inputs.named_weights(path)


def make_motion_correlation(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.clip_metrics import MotionCorrelation
    from evaluation.metrics.interface import Unavailable

    if inputs.network is None:
        raise Unavailable("it needs the network's keypoints: name its --checkpoint.")
    return MotionCorrelation(inputs.network.detect), inputs.named_network()


def make_expression_transfer(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.clip_metrics import ExpressionTransfer

    detector, source = inputs.landmarks_or_own()
    if inputs.options.landmarks is not None:
        source = f"{source}; of the real frames: files in {inputs.options.landmarks}"
    return ExpressionTransfer(detector), source


def make_identity_similarity(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.identity import ArcFaceEmbedder, IdentitySimilarity
    from evaluation.metrics.interface import Unavailable

    if not inputs.has_source:
        raise Unavailable("it needs the source pictures: name their folder with --source.")
    path = inputs.file("arcface")
    embedder = ArcFaceEmbedder(path, inputs.device)
    detector, name = inputs.landmarks
    source = f"{inputs.named_weights(path)}; {name}"
    return IdentitySimilarity(detector, embedder), source


def make_pose_expression(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.pose_expression import PoseExpressionDistance, PyFeatDetector

    detector = PyFeatDetector(str(inputs.device))
    source = f"{detector.name} {detector.version}"
    return PoseExpressionDistance(detector), source


def make_fid(inputs: "MetricInputs", columns: Sequence[str]) -> MetricAndSource:
    from evaluation.metrics.fid import InceptionFeatures

    features = InceptionFeatures(inputs.device)
    return features, inputs.named_weights(features.weights)


EXPRESSIONS = {  # 1 is as far, and in the same way, as the driving face
    f"{name}_{statistic}": Column(f"{title}, {word}", "higher", 3, needs_truth=False)
    for name, title in {
        "mouth": "Mouth opening",
        "width": "Mouth width",
        "eyes": "Eye opening",
        "brows": "Brow height",
    }.items()
    for statistic, word in {"gain": "gain", "corr": "correlation"}.items()
}

METRICS = [
    RegisteredMetric(
        {
            "l1": Column("L1", "lower", 4),
            "psnr": Column("PSNR (dB)", "higher", 2),
            "psnr_published": Column("PSNR, 8-bit wrap-around (dB)", "higher", 2),
            "ssim": Column("SSIM", "higher", 4),
            "ssim_published": Column("SSIM, range 2", "higher", 4),
        },
        make_pixels,
    ),
    RegisteredMetric(
        {"sharpness": Column("Sharpness (of the real frame's)", "higher", 3)}, make_sharpness
    ),
    RegisteredMetric(
        {
            "lpips_alex": Column("LPIPS (AlexNet)", "lower", 4),
            "lpips_alex_published": Column("LPIPS (AlexNet), unscaled", "lower", 4),
        },
        make_lpips,
    ),
    RegisteredMetric({"lpips_vgg": Column("LPIPS (VGG)", "lower", 4)}, make_lpips),
    RegisteredMetric(
        {
            "akd": Column("AKD (px at 256)", "lower", 3),
            "akd_published": Column("AKD, mean coordinate (px at 256)", "lower", 3),
            "mkr": Column("MKR", "lower", 4, needs_truth=False),
        },
        make_keypoint_distance,
    ),
    RegisteredMetric(
        {
            "aed": Column("AED", "lower", 4),
            "aed_published": Column("AED, squared", "lower", 4),
        },
        make_identity_distance,
    ),
    RegisteredMetric(
        {"motion": Column("Motion correlation", "higher", 4, needs_truth=False)},
        make_motion_correlation,
        measures="clip",
    ),
    RegisteredMetric(EXPRESSIONS, make_expression_transfer, measures="clip"),
    RegisteredMetric(
        {"csim": Column("CSIM", "higher", 4, needs_truth=False)}, make_identity_similarity
    ),
    RegisteredMetric(
        {
            "pose_rmse": Column("Pose RMSE (degrees)", "lower", 3, needs_truth=False),
            "au_hamming": Column("Action units that differ", "lower", 4, needs_truth=False),
        },
        make_pose_expression,
    ),
    RegisteredMetric(
        {"fid": Column("FID", "lower", 2, needs_truth=False)}, make_fid, measures="all frames"
    ),
]

CLIP_COLUMNS = {name for metric in METRICS if metric.measures == "clip" for name in metric.columns}
COLUMNS = {name: column for metric in METRICS for name, column in metric.columns.items()}

# Names of columns in results of earlier versions: "reference" meant the published convention.
EARLIER_NAMES = {
    name.replace("_published", "_reference"): name for name in COLUMNS if "_published" in name
}


def current_name(column: str) -> str:
    """Translate the name of a column in the files of earlier versions into today's."""
    return EARLIER_NAMES.get(column, column)


def parse_metrics(text: str) -> list[str]:
    """List the columns that ``--metrics`` names: "all", or names with commas between them."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in {"all", *COLUMNS}:
            raise InputError(f"No metric is called {name!r}: choose all, {', '.join(COLUMNS)}.")
    return [column for column in COLUMNS if column in names or "all" in names]
