"""The columns of a result: what each number is called, and which way is better."""

from typing import Literal, NamedTuple


class Column(NamedTuple):
    """One number a frame, a clip or of all frames; that of a clip stands at each of its frames."""

    title: str
    better: Literal["lower", "higher"]
    digits: int  # after the point, in tables
    needs_truth: bool = True  # compares with the real frame as the truth: same identity only


EXPRESSIONS = {  # 1 is as far, and in the same way, as the driving face
    f"{name}_{what}": Column(f"{title}, {word}", "higher", 3, needs_truth=False)
    for name, title in {
        "mouth": "Mouth opening",
        "width": "Mouth width",
        "eyes": "Eye opening",
        "brows": "Brow height",
    }.items()
    for what, word in {"gain": "gain", "corr": "correlation"}.items()
}

COLUMNS = {
    "l1": Column("L1", "lower", 4),
    "psnr": Column("PSNR (dB)", "higher", 2),
    "psnr_published": Column("PSNR, 8-bit wrap-around (dB)", "higher", 2),
    "ssim": Column("SSIM", "higher", 4),
    "ssim_published": Column("SSIM, range 2", "higher", 4),
    "sharpness": Column("Sharpness (of the real frame's)", "higher", 3),
    "lpips_alex": Column("LPIPS (AlexNet)", "lower", 4),
    "lpips_alex_published": Column("LPIPS (AlexNet), unscaled", "lower", 4),
    "lpips_vgg": Column("LPIPS (VGG)", "lower", 4),
    "akd": Column("AKD (px at 256)", "lower", 3),
    "akd_published": Column("AKD, mean coordinate (px at 256)", "lower", 3),
    "mkr": Column("MKR", "lower", 4, needs_truth=False),
    "aed": Column("AED", "lower", 4),
    "aed_published": Column("AED, squared", "lower", 4),
    "motion": Column("Motion correlation", "higher", 4, needs_truth=False),
    **EXPRESSIONS,
    "csim": Column("CSIM", "higher", 4, needs_truth=False),
    "pose_rmse": Column("Pose RMSE (degrees)", "lower", 3, needs_truth=False),
    "au_hamming": Column("Action units that differ", "lower", 4, needs_truth=False),
    "fid": Column("FID", "lower", 2, needs_truth=False),
}
