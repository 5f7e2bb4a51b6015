import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.counting import count_flops, count_parameters, count_parts
from benchmarks.plain import plain_form
from modules.mcnet import MCNet, ModelConfig
from tests.tiny import TINY, random_images, tiny_model


def test_a_convolution_counts_two_operations_for_each_weight_at_each_place():
    conv = nn.Conv2d(3, 8, kernel_size=5, stride=2, padding=2).requires_grad_(False)
    image = torch.rand(2, 3, 12, 20)
    assert count_flops(lambda: conv(image)) == 2 * 2 * (6 * 10) * 8 * (3 * 5 * 5)
    assert count_parameters(conv) == 8 * 3 * 5 * 5 + 8


def test_groups_divide_the_operations():
    conv = nn.Conv2d(4, 8, kernel_size=3, padding=1, groups=4).requires_grad_(False)
    image = torch.rand(1, 4, 6, 6)
    assert count_flops(lambda: conv(image)) == 2 * 36 * 8 * (1 * 9)


@pytest.mark.parametrize("heads", [(), (1,)])
def test_attention_counts_both_its_products(heads):
    query, memory = torch.rand(2, *heads, 30, 16), torch.rand(2, *heads, 7, 16)
    flops = count_flops(lambda: F.scaled_dot_product_attention(query, memory, memory))
    assert flops == 2 * 2 * (2 * 30 * 7 * 16)


def test_half_precision_counts_the_same():
    conv = nn.Conv2d(4, 8, kernel_size=3).requires_grad_(False)
    image = torch.rand(1, 4, 6, 6)
    single = count_flops(lambda: conv(image))
    conv.bfloat16()
    assert count_flops(lambda: conv(image.bfloat16())) == single


def test_the_parts_are_the_whole_network():
    model = tiny_model().eval()
    counts = count_parts(model, (32, 48))
    source, driving = random_images(batch=2).split(1)
    assert counts.frame_flops == count_flops(lambda: model.requires_grad_(False)(source, driving))
    assert counts.parameters == count_parameters(model)
    by_name = {part.name: part for part in counts.parts}
    detector, encoder = by_name["keypoint detector"], by_name["encoder"]
    assert counts.source_flops == detector.flops + encoder.flops
    assert counts.driving_flops == counts.frame_flops - counts.source_flops
    assert detector.flops == count_flops(lambda: model.detect(driving))


def test_counting_leaves_the_network_as_it_is():
    model = tiny_model().train()
    count_parts(model, (32, 32))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(
        buffer.any() for name, buffer in model.named_buffers() if name.endswith("running_mean")
    )


def test_without_a_memory_there_is_no_such_part():
    config = TINY.model_copy(update={"memory": None})
    names = [part.name for part in count_parts(tiny_model(config), (32, 32)).parts]
    assert names == ["keypoint detector", "dense motion", "encoder", "decoder"]


def test_the_published_network_asks_for_what_was_counted_of_it():
    counts = count_parts(plain_form(MCNet(ModelConfig())), (256, 256))
    gflop = {part.name: part.flops / 1e9 for part in counts.parts}
    assert gflop["decoder"] == pytest.approx(223, abs=1)
    assert gflop["memory"] == pytest.approx(130, abs=1)
    assert gflop["encoder"] == pytest.approx(31, abs=1)
    assert counts.frame_flops / 1e9 == pytest.approx(393, rel=0.02)
