import json
import math
from pathlib import Path

import pytest
import torch

from datasets.clips import Clip, find_clips
from datasets.config import DataConfig
from evaluation.__main__ import main
from evaluation.memory_use import (
    AS_IT_IS,
    READINGS,
    Plan,
    another_persons,
    measure_memory,
    psnr_by_pixels,
    with_exchange,
    with_zeros,
)
from modules.attention import DotAttention
from modules.generator import Rendered
from tests.tiny import TINY, random_images, tiny_model
from tests.tiny_run import write_checkpoint, write_clips
from utils.errors import InputError

PLAN = Plan(size=(32, 32), num_frames=3, hidden_share=0.3, seed=0)
QUERY, KEYS, VALUES = torch.randn(4, 5, 3, 2), torch.randn(4, 5, 4, 4), torch.randn(4, 5, 4, 4)


@pytest.fixture
def clips(tmp_path) -> list[Clip]:
    return find_clips(DataConfig(root=write_clips(tmp_path / "clips")), "test")


def test_nothing_is_read_inside_the_block_alone():
    attention = DotAttention(temperature=4.0)
    expected = attention(QUERY, KEYS, VALUES)
    with with_zeros(attention):
        assert attention(QUERY, KEYS, VALUES).read.abs().max() == 0
    assert torch.equal(attention(QUERY, KEYS, VALUES).read, expected.read)


def test_halves_of_a_batch_read_each_others_memory():
    attention = DotAttention(temperature=4.0)
    swapped = torch.tensor([2, 3, 0, 1])
    expected = attention(QUERY, KEYS[swapped], VALUES[swapped])
    with with_exchange(attention):
        torch.testing.assert_close(attention(QUERY, KEYS, VALUES), expected)


def rendered_like(prediction: torch.Tensor, occlusion: torch.Tensor) -> Rendered:
    model = tiny_model().eval()
    with torch.no_grad():
        rendered = model(random_images(), random_images())
    return rendered._replace(
        prediction=prediction, motion=rendered.motion._replace(occlusion=occlusion)
    )


def test_pixels_that_the_source_does_not_show_are_measured_by_themselves():
    driving = torch.zeros(2, 3, 8, 8)
    occlusion = torch.ones(2, 1, 8, 8)
    occlusion[0, :, :, :4] = 0.4  # of the second frame all is shown
    prediction = driving.clone()
    prediction[0, :, :, :4] = 0.1
    found = psnr_by_pixels(rendered_like(prediction, occlusion), driving)
    error = (26 / 255) ** 2  # 0.1 in 8 bits
    decibels = -10 * torch.tensor([error / 2, error]).log10()
    assert found["all"] == [pytest.approx(decibels[0].item()), float("inf")]
    hidden, nothing = found["not shown by the source"]
    assert hidden == pytest.approx(decibels[1].item())
    assert math.isnan(nothing)


def test_a_memory_without_values_is_worth_nothing_and_one_with_them_acts(clips):
    model = tiny_model().eval()
    convolution = model.generator.memory.meta_memory.key_value_conv
    torch.nn.init.normal_(convolution.bias, mean=3.0)
    acting = measure_memory(model, clips, PLAN)
    torch.nn.init.zeros_(convolution.weight)
    torch.nn.init.zeros_(convolution.bias)
    empty = measure_memory(model, clips, PLAN)
    assert {row.reading for row in empty.psnr} == READINGS.keys()
    for row, other in zip(empty.psnr, acting.psnr, strict=True):
        assert row.frames == 6
        if row.reading != AS_IT_IS:
            assert row.difference == pytest.approx(0)
            assert other.difference != 0
            assert other.interval is not None
    for level in empty.perplexity:  # equal keys
        assert level.position == pytest.approx(level.slots, rel=1e-3)
        assert level.data == pytest.approx(level.slots, rel=1e-3)


def test_the_numbers_are_a_function_of_the_seed(clips):
    model = tiny_model().eval()
    one, other = (measure_memory(model, clips, PLAN) for _ in range(2))
    assert one == other
    elsewhere = measure_memory(model, clips, PLAN._replace(seed=1))
    assert [row.mean for row in elsewhere.psnr] != [row.mean for row in one.psnr]


def test_the_other_person_is_the_next_who_is_another():
    clips = [Clip(Path(name), name, name[0], 5) for name in ("a1", "a2", "b1")]
    assert [another_persons(clips, index).name for index in range(3)] == ["b1", "b1", "a1"]
    with pytest.raises(InputError, match=r"clips of two people.*found 1 among 2 clips"):
        another_persons(clips[:2], 0)


def test_a_network_without_a_memory_is_one_sentence(clips):
    with pytest.raises(InputError, match="has no memory"):
        measure_memory(tiny_model(TINY.model_copy(update={"memory": None})), clips, PLAN)


def test_the_command_prints_tables_and_writes_the_numbers(tmp_path, capsys):
    root = write_clips(tmp_path / "clips")
    checkpoint = write_checkpoint(tmp_path / "checkpoint", root)
    output = tmp_path / "memory.json"
    arguments = ["memory", "--checkpoint", str(checkpoint), "--root", str(root), "--frames", "2"]
    assert main([*arguments, "--hide", "0.25", "--output", str(output)]) == 0
    text = capsys.readouterr().out
    for words in ("| zeros | 4 |", "| of another person | 4 |", "| 16 x 16 |", "| 8 x 8 |"):
        assert words in text
    found = json.loads(output.read_text())
    assert found["people"] == 2
    assert len(found["psnr"]) == 2 * len(READINGS)
