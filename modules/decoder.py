"""The decoder: a U-Net from the compensated features to the picture."""

import torch
from torch import Tensor, nn

from modules.blocks import ResidualBlock, UpBlock
from modules.geometry import at_least_float32, resize


class Decoder(nn.Module):
    """A U-Net decoder of features of ``widths`` channels, finest first, to an image."""

    def __init__(self, widths: list[int], residual_blocks: int) -> None:
        super().__init__()
        self.residual = nn.ModuleList()
        self.up = nn.ModuleList()
        channels = widths[-1]
        for width in reversed(widths[:-1]):
            blocks = [ResidualBlock(channels) for _ in range(residual_blocks)]
            self.residual.append(nn.Sequential(*blocks))
            self.up.append(UpBlock(channels, width))
            channels = 2 * width  # the level's own feature is concatenated
        self.final: nn.Module = nn.Conv2d(widths[0], 3, kernel_size=7, padding=3)

    def forward(self, pyramid: list[Tensor], warped_source: Tensor, occlusion: Tensor) -> Tensor:
        """Decode warped features, finest first, with the warped source (B, 3, H, W): (B, 3, H, W).

        The occlusion map is (B, 1, h, w), 1 = visible.  Visible places come from the source: at the
        finest level its feature replaces the decoder's, and in the end its pixels do.
        """
        finest, *coarser = pyramid
        visible = resize(occlusion, warped_source.shape[-2:])
        skipped: list[Tensor | None] = [None, *coarser[:-1]]
        x = coarser[-1]
        for residual, up in zip(self.residual, self.up, strict=True):
            x = up(residual(x))
            skip = skipped.pop()
            x = x if skip is None else torch.cat([x, skip], dim=1)
        x = torch.addcmul(finest, x, (1 - visible).to(x.dtype))
        painted = at_least_float32(self.final(x)).sigmoid()
        return torch.lerp(painted, warped_source, visible)
