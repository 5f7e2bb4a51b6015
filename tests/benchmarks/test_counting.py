import pytest
import torch
from torch import nn

from benchmarks.counting import count_flops, count_parameters, count_parts, parts_table
from benchmarks.plain import plain_network
from modules.mcnet import MCNet, ModelConfig
from tests.tiny import TINY, TINY_LANDMARKS, random_images, tiny_model


def test_a_convolution_counts_two_operations_for_each_weight_at_each_place():
    conv = nn.Conv2d(3, 8, kernel_size=5, stride=2, padding=2).requires_grad_(False)
    image = torch.rand(2, 3, 12, 20)
    assert count_flops(lambda: conv(image)) == 2 * 2 * (6 * 10) * 8 * (3 * 5 * 5)
    assert count_parameters(conv) == 8 * 3 * 5 * 5 + 8


def test_groups_divide_the_operations():
    conv = nn.Conv2d(4, 8, kernel_size=3, padding=1, groups=4).requires_grad_(False)
    image = torch.rand(1, 4, 6, 6)
    assert count_flops(lambda: conv(image)) == 2 * 36 * 8 * (1 * 9)


def test_half_precision_counts_the_same():
    conv = nn.Conv2d(4, 8, kernel_size=3).requires_grad_(False)
    image = torch.rand(1, 4, 6, 6)
    single = count_flops(lambda: conv(image))
    conv.bfloat16()
    assert count_flops(lambda: conv(image.bfloat16())) == single


@pytest.mark.parametrize("config", [TINY, TINY_LANDMARKS])
def test_the_parts_are_the_whole_network(config):
    model = tiny_model(config).eval().requires_grad_(False)
    parts = count_parts(model, (32, 48))
    source, driving = random_images(batch=2).split(1)
    by_name = {part.name: part for part in parts}
    detectors = [by_name[name] for name in by_name if name.endswith("detector")]
    rows = {row["part"]: row for row in parts_table(parts).rows}
    whole = rows["total for both, as in every frame of the plain network"]
    assert whole["GFLOP"] * 1e9 == pytest.approx(count_flops(lambda: model(source, driving)))
    assert whole["parameters, million"] * 1e6 == pytest.approx(count_parameters(model))
    of_source = rows["total for a source"]["GFLOP"] * 1e9
    detected = sum(part.flops for part in detectors)
    assert of_source == pytest.approx(detected + by_name["encoder"].flops)
    assert whole["GFLOP"] * 1e9 - of_source == pytest.approx(
        rows["total for a driving frame"]["GFLOP"] * 1e9
    )
    assert detected == count_flops(lambda: model.detect(driving))


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
    names = [part.name for part in count_parts(tiny_model(config), (32, 32))]
    assert names == ["keypoint detector", "dense motion", "encoder", "decoder"]


def test_the_published_network_needs_the_published_operations():
    parts = count_parts(plain_network(MCNet(ModelConfig())), (256, 256))
    gflop = {part.name: part.flops / 1e9 for part in parts}
    assert gflop["decoder"] == pytest.approx(223, abs=1)
    assert gflop["memory"] == pytest.approx(130, abs=1)
    assert gflop["encoder"] == pytest.approx(31, abs=1)
    assert sum(gflop.values()) + gflop["keypoint detector"] == pytest.approx(393, rel=0.02)
