"""The encoder: the source as a pyramid of features, from full size to the coarsest."""

from torch import Tensor, nn

from modules.blocks import DownBlock, SameBlock


class Encoder(nn.Module):
    """Encoder of an image to features of ``widths`` channels, each level half as large."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.first = SameBlock(3, widths[0], kernel_size=7)
        self.down = nn.ModuleList(
            DownBlock(finer, coarser) for finer, coarser in zip(widths, widths[1:], strict=False)
        )

    def forward(self, source: Tensor) -> list[Tensor]:
        """Encode (B, 3, H, W) in [0, 1], finest level first: (B, widths[i], H / 2^i, W / 2^i)."""
        pyramid = [self.first(source)]
        for down in self.down:
            pyramid.append(down(pyramid[-1]))
        return pyramid
