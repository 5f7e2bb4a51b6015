"""Pose and expression: angles of the head, and facial action units, that a detector finds.

The published PRMSE and 1 - AUCON were measured with the py-feat of 2022, which is not available
any more: the numbers compare with others of the same detector and version only.
"""

import io
from contextlib import redirect_stderr
from typing import Any, NamedTuple, Protocol

import numpy as np

from evaluation.metrics.interface import Frames, Measured, Unavailable
from evaluation.metrics.landmarks import NO_FACE, NO_REAL_FACE
from media.pictures import channels_first

PRESENT = 0.5  # probability from which an action unit counts as present


class PoseAndActionUnits(NamedTuple):
    """Pose and action units of the faces of frames; NaN in the rows of frames without a face."""

    pose: np.ndarray  # (N, 3): pitch, roll and yaw in degrees
    action_units: np.ndarray  # (N, U): 1 present, 0 absent


class PoseExpressionDetector(Protocol):
    """Detector of poses and action units in frames (N, H, W, 3) uint8, RGB."""

    name: str  # stands beside its numbers, with the version
    version: str

    def __call__(self, frames: np.ndarray) -> PoseAndActionUnits:
        """Measure the face of each frame (N, H, W, 3)."""
        ...


class PyFeatDetector:
    """Detector of py-feat (Cheong et al. 2023), written for version 2.1.5.

    The pose is img2pose's, the 20 action units are those of py-feat's own classifiers. py-feat
    downloads their weights itself at the first use.
    """

    name = "py-feat"

    def __init__(self, device: str) -> None:
        """Load the detector; raises Unavailable without the package or the weights."""
        try:
            import feat

            self.version: str = feat.__version__
            self.network: Any = feat.Detectorv1(
                face_model="img2pose",  # the only one that measures the pose
                landmark_model="mobilefacenet",
                au_model="xgb",  # gives probabilities
                emotion_model=None,
                identity_model=None,
                gaze_model=None,
                device=device,
            )
        except ImportError as error:
            raise Unavailable(f"{error}: pip install py-feat.") from error
        except OSError as error:  # a failed download
            raise Unavailable(
                f"py-feat has no weights, which it downloads at its first use: {error}"
            ) from error
        except AttributeError as error:
            raise Unavailable(
                f"{error}: install py-feat>=2.1.5, not {feat.__version__}."
            ) from error

    def __call__(self, frames: np.ndarray) -> PoseAndActionUnits:
        """Measure the surest face of each frame (N, H, W, 3)."""
        images = channels_first(frames)
        with redirect_stderr(io.StringIO()):  # a progress bar, whatever is asked for
            faces = self.network.detect(
                images, data_type="tensor", batch_size=len(images), progress_bar=False
            )
        # A row for each face, and one of NaN for a frame without any.
        numbers, scores = faces["frame"].to_numpy(), faces["FaceScore"].to_numpy()
        surest_first = np.lexsort((-scores, numbers))
        _, first = np.unique(numbers[surest_first], return_index=True)
        rows = surest_first[first]  # (N,)
        radians = faces[["Pitch", "Roll", "Yaw"]].to_numpy(dtype=float)[rows]
        units = faces[faces.au_columns].to_numpy(dtype=float)[rows]
        present = np.where(np.isnan(units), np.nan, units > PRESENT)
        return PoseAndActionUnits(np.degrees(radians), present)


class PoseExpressionDistance:
    """Difference of the real and the generated face in pose and in expression.

    ``pose_rmse`` is the root mean square of the three angles' differences in degrees,
    ``au_hamming`` the share of action units that only one of the two shows.
    """

    def __init__(self, detector: PoseExpressionDetector) -> None:
        self.detector = detector

    def __call__(self, frames: Frames) -> Measured:
        real, generated = self.detector(frames.real), self.detector(frames.generated)
        turned = (generated.pose - real.pose + 180) % 360 - 180  # the shorter way round
        values = {
            "pose_rmse": np.sqrt(np.square(turned).mean(axis=1)),
            "au_hamming": np.abs(generated.action_units - real.action_units).mean(axis=1),
        }
        lacking = np.isnan(list(values.values())).any(axis=0)
        no_real_face = np.isnan(np.hstack(real)).any(axis=1)
        reasons = np.select([lacking & no_real_face, lacking], [NO_REAL_FACE, NO_FACE], default="")
        return Measured(values, reasons.tolist())
