"""Training in two stages: the landmark detector with labels, then the rest with it frozen."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from config import Config, load_config
from modules.checkpoints import State, load_model
from tests.tiny_run import begin, write_clips, write_config
from utils.errors import InputError

DETECTOR = "model.landmark_detector={height: 32, patch: 2, width: 4, depth: 2, max_width: 8}"
LABELLED = [
    *(DETECTOR, "train.network=landmark detector", "train.learning_rate.landmark_detector=1e-2")
]
REST = [
    *(DETECTOR, "train.learning_rate.detector=0", "loss.landmark_cycle=1", "loss.face_emphasis=2")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Clips of which all but one person's have landmarks."""
    folder = tmp_path_factory.mktemp("data")
    write_clips(folder / "clips")
    generator = np.random.default_rng(0)
    for clip in sorted((folder / "clips").rglob("*.mp4"))[:-1]:
        path = folder / "marks" / clip.parent.name / f"{clip.name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, generator.uniform(4, 28, (5, 68, 2)).astype(np.float16))
    return folder


def config_with(folder: Path, *settings: str) -> Config:
    path = write_config(folder / "tiny.yaml", folder / "clips")
    return load_config(path, [f"data.landmarks={folder / 'marks'}", *settings])


@pytest.fixture(scope="module")
def labelled(folder, tmp_path_factory) -> Path:
    """A run that trained the landmark detector."""
    run = tmp_path_factory.mktemp("runs") / "labelled"
    begin(config_with(folder, *LABELLED), run).run()
    return run


def changed_parts(before: State, after: State) -> set[str]:
    """List the parts of a network in which a tensor has changed."""
    return {name.split(".")[0] for name in before if not before[name].equal(after[name])}


def test_the_landmark_detector_is_trained_alone(folder, labelled, tmp_path):
    begun = begin(config_with(folder, *LABELLED), tmp_path / "begun").train_step.model
    ended = load_model(labelled)
    assert changed_parts(begun.state_dict(), ended.state_dict()) == {"landmark_detector"}


def test_its_validation_says_how_far_off_the_landmarks_are(labelled):
    records = [json.loads(line) for line in (labelled / "metrics.jsonl").read_text().splitlines()]
    (scores,) = [record for record in records[-2:] if "validation/landmark_error" in record][-1:]
    assert 0 < scores["validation/landmark_error"] < 10
    assert {"validation/mouth_gain", "validation/eyes_corr"} <= scores.keys()
    assert list(labelled.glob("grids/*"))


def test_the_rest_is_trained_beside_the_frozen_detectors(folder, labelled, tmp_path):
    trainer = begin(config_with(folder, *REST), tmp_path / "rest", str(labelled))
    before = {name: x.clone() for name, x in trainer.train_step.model.state_dict().items()}
    outcome = trainer.run()
    after = trainer.train_step.model.state_dict()
    assert changed_parts(before, after) == {"generator", "dense_motion"}
    assert "gain / correlation: mouth" in outcome.summary


def test_a_network_without_landmarks_is_where_the_first_stage_may_begin(folder, tmp_path):
    begin(config_with(folder), tmp_path / "small").run()
    trainer = begin(config_with(folder, *LABELLED), tmp_path / "grown", str(tmp_path / "small"))
    small, large = load_model(tmp_path / "small"), trainer.train_step.model
    assert torch.equal(large.detector.heatmaps.weight, small.detector.heatmaps.weight)


def test_the_rest_is_not_trained_beside_a_random_landmark_detector(folder, tmp_path):
    begin(config_with(folder), tmp_path / "without").run()
    for checkpoint, lacking in [
        (None, "there is no --checkpoint"),
        (str(tmp_path / "without"), f"{tmp_path / 'without'} has none"),
    ]:
        with pytest.raises(InputError, match=f"{lacking}: train it first .*lite-landmarks.yaml"):
            begin(config_with(folder, *REST), tmp_path / "rest", checkpoint)


def test_the_rest_is_resumed(folder, labelled, tmp_path):
    config = config_with(folder, *REST, "train.max_steps=2")
    begin(config, tmp_path / "rest", str(labelled)).run()
    assert begin(config, tmp_path / "rest", "last").train_step.step == 2


def test_without_a_detector_or_labels_there_is_nothing_to_train(folder, tmp_path):
    with pytest.raises(InputError, match=r"set\s+model.landmark_detector"):
        begin(config_with(folder, *LABELLED[1:]), tmp_path / "none")
    with pytest.raises(InputError, match="No face of the test split has labelled landmarks"):
        begin(config_with(folder, *LABELLED, "data.landmarks=null"), tmp_path / "unlabelled")


def test_rates_warm_up_and_fall_by_a_cosine(folder, tmp_path):
    settings = ["train.warm_up=2", "train.cosine=true", "train.milestones=[]"]
    trainer = begin(config_with(folder, *settings), tmp_path / "rates")
    factors = []
    for step in range(6):
        trainer.train_step.step = step
        factors.append(trainer.rate_factor())
    falling = [(1 + np.cos(np.pi * step / 6)) / 2 for step in range(6)]
    assert factors == pytest.approx([0.5 * falling[0], *falling[1:]])
