"""Crops of training images."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from iebaker.model.augment import cut, draw_crops
from iebaker.model.preprocess import Preprocess


@given(st.integers(32, 300), st.floats(0.05, 1.0), st.integers(0, 99))
def test_crops_keep_the_promised_area_and_aspect(side, smallest, seed):
    """Up to the rounding to whole pixels; torchvision's fallback, the whole image, is always allowed."""
    boxes = draw_crops(20, side, smallest, np.random.default_rng(seed))
    top, left, height, width = boxes.T
    assert (boxes[:, :2] >= 0).all() and (top + height <= side).all() and (left + width <= side).all()
    slack = 1 / side
    assert (height * width / side**2 >= smallest - 2 * slack).all()
    assert (width / height <= 4 / 3 + 4 * slack / smallest).all() and (
        height / width <= 4 / 3 + 4 * slack / smallest
    ).all()


def test_published_crop_is_within_what_torchvision_draws():
    """Aspects that do not fit are drawn again, not clipped: at 0.9 between 0.90 and 1.11."""
    boxes = draw_crops(2000, 224, 0.9, np.random.default_rng(0))
    aspect = boxes[:, 3] / boxes[:, 2]
    area = boxes[:, 2] * boxes[:, 3] / 224**2
    assert 0.88 < aspect.min() < 0.92 and 1.09 < aspect.max() < 1.13 and area.min() > 0.89
    assert len(np.unique(boxes, axis=0)) > 1000


def test_a_crop_is_the_librarys(rng):
    """Bicubic and antialiased, against Pillow's of the same box."""
    image = Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).resize((224, 224), Image.Resampling.BICUBIC)
    crops = np.array([[10, 20, 200, 190]])
    pixels = torch.from_numpy(np.array(image))[None].permute(0, 3, 1, 2).float() / 255
    found = cut(pixels, crops, 96, "bicubic")[0].permute(1, 2, 0).numpy()
    expected = np.asarray(image.resize((96, 96), Image.Resampling.BICUBIC, box=(20, 10, 210, 210))) / 255
    assert np.abs(found - expected).max() < 0.03


def test_a_crop_of_everything_is_the_plain_input(rng):
    preprocess = Preprocess(96, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    pixels = torch.from_numpy(rng.integers(0, 255, (4, 128, 128, 3), np.uint8))
    torch.testing.assert_close(preprocess(pixels, np.tile([0, 0, 128, 128], (4, 1))), preprocess(pixels))


def test_draws_leave_the_global_stream_alone_and_repeat():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = (draw_crops(8, 64, 0.5, np.random.default_rng(1)) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state()) and (first == second).all()


def test_crops_are_cut_where_the_images_are():
    images = torch.empty(2, 3, 8, 8, device="meta")
    crops = draw_crops(2, 8, 0.5, np.random.default_rng(0))
    assert cut(images, crops, 8, "bicubic").device.type == "meta"
