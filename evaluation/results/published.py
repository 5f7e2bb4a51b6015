"""Table published with MCNet, with the column of ours that each of its numbers belongs to.

The scripts behind it were not published: a number is compared in the convention that evaluation
scripts of this family use, and a note says where even that is a guess.
"""

from typing import NamedTuple

CONDITIONS = "VoxCeleb1, same identity, 2,083 pairs"
NUM_PAIRS = 2083


class PublishedColumn(NamedTuple):
    """Column of the published table."""

    title: str
    column: str  # ours, in the convention of such scripts
    digits: int  # after the point, as published
    scale: int = 1  # of the published number to ours
    note: str = ""


PUBLISHED_COLUMNS = (
    PublishedColumn("L1", "l1", 4),
    PublishedColumn("SSIM x100", "ssim_published", 1, scale=100),
    PublishedColumn(
        "PSNR",
        "psnr_published",
        3,
        note="as an L1 of 0.033 cannot go with 32 dB unless differences wrap around",
    ),
    PublishedColumn("LPIPS", "lpips_vgg", 3, note="which is a guess, as the network is not named"),
    PublishedColumn("AKD", "akd_published", 3),
    PublishedColumn("AED", "aed_published", 4),
)

# Numbers of each network, in the order of the columns
PUBLISHED_ROWS = {
    "baseline without memory": (0.0356, 81.1, 31.701, 0.182, 1.303, 0.1236),
    "memory, identity from keypoints only": (0.0336, 82.3, 31.896, 0.175, 1.237, 0.1097),
    "memory, identity from feature only": (0.0333, 82.3, 31.932, 0.175, 1.227, 0.1087),
    "MCNet": (0.0331, 82.5, 31.942, 0.174, 1.203, 0.1065),
}
