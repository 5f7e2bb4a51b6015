import math

import torch
import torch.nn.functional as F

from modules.meta_memory import DynamicConv, MetaMemory, ModulatedConv


def test_modulation_equals_scaling_and_normalising_the_weights_of_each_sample():
    torch.manual_seed(0)
    conv = ModulatedConv(channels=5, style_size=7)
    x, identity = torch.randn(3, 5, 6, 4), torch.randn(3, 7)
    outputs = []
    for one, style_in in zip(x, identity, strict=True):
        style = conv.style_weight / math.sqrt(7) @ style_in + conv.style_bias
        weight = conv.weight * style[None, :, None, None] / math.sqrt(5 * 9)
        norm = weight.square().sum(dim=(1, 2, 3), keepdim=True).add(1e-8).sqrt()
        outputs.append(F.conv2d(one[None], weight / norm, padding=1))
    torch.testing.assert_close(conv(x, identity), torch.cat(outputs))


def test_a_dynamic_convolution_mixes_its_kernels():
    torch.manual_seed(0)
    conv = DynamicConv(in_channels=4, out_channels=6, num_kernels=3, temperature=2.0)
    torch.nn.init.normal_(conv.bias)
    x, pooled = torch.randn(2, 4, 5, 5), torch.randn(2, 4)
    mixture = (conv.mixture(pooled) / 2.0).softmax(dim=-1)
    each = torch.stack(
        [F.conv2d(x, w, b, padding=1) for w, b in zip(conv.weight, conv.bias, strict=True)], dim=1
    )
    expected = (mixture[:, :, None, None, None] * each).sum(dim=1)
    torch.testing.assert_close(conv(x, pooled), expected)


def make_memory() -> MetaMemory:
    torch.manual_seed(0)
    memory = MetaMemory(channels=5, size=6, num_kernels=2, kernel_temperature=34.0)
    torch.nn.init.ones_(memory.noise_strength)
    return memory


def test_the_noise_of_inference_is_the_same_for_every_sample_and_every_time():
    memory = make_memory()
    identity = torch.randn(1, 5)
    conditioned = memory.condition(identity.expand(3, -1))
    assert conditioned.shape == (3, 5, 6, 6)
    torch.testing.assert_close(conditioned[0], conditioned[2])
    torch.testing.assert_close(conditioned, memory.condition(identity.expand(3, -1)))
    torch.testing.assert_close(make_memory().fixed_noise, memory.fixed_noise)


def test_given_noise_is_the_same_for_all_channels_and_is_scaled_by_its_strength():
    memory = make_memory()
    identity, noise = torch.randn(2, 5), torch.rand(2, 6, 6)
    with_noise = memory.condition(identity, noise)
    assert not torch.equal(with_noise, memory.condition(identity))
    # Undo the activation: leaky ReLU 0.2, then sqrt 2.
    before = [x / math.sqrt(2) for x in (with_noise, memory.condition(identity, 0 * noise))]
    before = [torch.where(x > 0, x, x / 0.2) for x in before]
    difference = (before[0] - before[1]).detach()
    torch.testing.assert_close(difference, noise[:, None].expand_as(difference))
