import torch

from modules.discriminator import Discriminator, DiscriminatorConfig
from tests.tiny import random_images, random_keypoints


def test_features_come_from_every_block_and_logits_from_patches():
    torch.manual_seed(0)
    config = DiscriminatorConfig(width=4, max_width=8, depth=3)
    discriminator = Discriminator(config, num_kp=4)
    output = discriminator(random_images(size=(64, 80)), random_keypoints().positions)
    assert [feature.shape[1] for feature in output.features] == [4, 8, 8]
    # 64 -> 61 -> 30 -> 27 -> 13 -> 10, the last without a pool
    assert output.features[-1].shape[-2:] == output.logits.shape[-2:] == (10, 14)


def test_it_sees_the_keypoints():
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(width=4, depth=2), num_kp=4)
    image, keypoints = random_images(), random_keypoints()
    here = discriminator(image, keypoints.positions).logits
    there = discriminator(image, -keypoints.positions).logits
    assert not torch.equal(here, there)
