from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from iebaker.method.similarity import (
    global_similarity,
    local_similarity,
    write_local_similarity,
)

PARITY = Path(__file__).parent / "fixtures" / "parity"
sizes = st.tuples(*[st.integers(1, 5), st.integers(1, 7), st.integers(1, 5), st.integers(1, 6), st.integers(1, 9)])


def direct(text, image, padding=None):
    """The definition: all token-by-token cosines, then their Frobenius norm."""
    cosines = torch.einsum("ild,jpd->ijlp", F.normalize(text, dim=-1), F.normalize(image, dim=-1))
    if padding is not None:
        cosines = cosines.masked_fill(padding[:, None, :, None], 0.0)
    return cosines.flatten(2).norm(dim=-1)


def close(ours, expected, tolerance=1e-6):
    torch.testing.assert_close(ours, expected, rtol=0, atol=tolerance * float(expected.abs().max()))


def draw(size, seed, masked):
    texts, length, images, patches, d = size
    generator = torch.Generator().manual_seed(seed)
    text = torch.randn(texts, length, d, generator=generator, requires_grad=True)
    image = torch.randn(images, patches, d, generator=generator, requires_grad=True)
    if not masked:
        return text, image, None
    # drawn freely, so whole captions are padding now and then
    return text, image, torch.rand(text.shape[:2], generator=generator) < 0.5


def test_parity_with_the_published_local_similarity():
    data = {name: torch.from_numpy(value) for name, value in np.load(PARITY / "local_similarity.npz").items()}
    local = local_similarity(data["text_tokens"], data["image_tokens"])
    close(local, data["eval"])
    close(local * np.exp(2.996), data["train"])


def test_parity_of_global_similarity_by_the_published_bank():
    data = {name: torch.from_numpy(value) for name, value in np.load(PARITY / "similarity_bank.npz").items()}
    positives = global_similarity(data["texts"][8], data["images"][8]).diagonal()
    close(positives, data["global_after"][8, -8:])


@given(sizes, st.integers(0, 1000), st.booleans())
def test_gram_equals_the_definition_with_and_without_masks(size, seed, masked):
    inputs = draw(size, seed, masked)
    ours, expected = local_similarity(*inputs), direct(*inputs)
    # near 0 the square root magnifies the rounding of the squares
    torch.testing.assert_close(ours**2, expected**2, rtol=0, atol=2e-6 * max(1.0, float(expected.detach().max()) ** 2))


@given(sizes, st.integers(0, 1000), st.booleans())
def test_gradients_equal_those_of_the_definition(size, seed, masked):
    inputs = [x.double() if x is not None and x.is_floating_point() else x for x in draw(size, seed, masked)]
    text, image = (x.detach().float().requires_grad_() for x in inputs[:2])
    weights = torch.rand(len(text), len(image), generator=torch.Generator().manual_seed(seed))
    (weights * local_similarity(text, image, *inputs[2:]) ** 2).sum().backward()
    exact = [x.detach().requires_grad_() for x in inputs[:2]]
    (weights * direct(*exact, *inputs[2:]) ** 2).sum().backward()
    for ours, expected in zip((text, image), exact, strict=True):
        # a token's gradient, and its rounding with it, grows with the inverse of the token's length
        length = expected.detach().norm(dim=-1, keepdim=True)
        torch.testing.assert_close(ours.grad.double() * length, expected.grad * length, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_pair_without_a_token_is_zero_with_zero_gradient(precision):
    text, image = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 5, 4, requires_grad=True)
    padding = torch.tensor([[True] * 3, [False] * 3])
    local = local_similarity(text, image, padding, precision=precision)
    local.sum().backward()
    assert (local[0] == 0).all() and (local[1] > 0).all() and local.dtype == torch.float32
    assert (text.grad[0] == 0).all() and text.grad[1].abs().sum() > 0 and image.grad.isfinite().all()


def test_padding_has_no_influence_and_published_behaviour_counts_it():
    text, image = torch.randn(3, 6, 8), torch.randn(2, 4, 8)
    padding = torch.arange(6).expand(3, 6) >= 4
    noisy = torch.where(padding[..., None], 100 * torch.randn(3, 6, 8), text)
    close(local_similarity(noisy, image, padding), local_similarity(text[:, :4], image))
    assert (local_similarity(noisy, image) > local_similarity(noisy, image, padding)).all()


def test_bfloat16_is_close_and_autocast_changes_nothing():
    text, image = torch.randn(8, 20, 64), torch.randn(8, 9, 64)
    exact = local_similarity(text, image)
    close(local_similarity(text, image, precision="bfloat16"), exact, 5e-3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(local_similarity(text, image), exact)
        assert torch.equal(global_similarity(text[0], image[0]), global_similarity(text[0], image[0]).float())
        assert global_similarity(text[0], text[0]).diagonal().sub(1).abs().max() < 1e-6


@pytest.mark.parametrize("width", [3, 8, 21])  # fewer than STRIPS, as many, and not a multiple
@pytest.mark.parametrize("block", [1, 4, 100])
def test_blockwise_export_fills_a_memory_map(tmp_path, block, width):
    text, image, padding = draw((7, 5, 6, 4, width), 0, True)
    out = np.lib.format.open_memmap(tmp_path / "local.npy", "w+", np.float32, (7, 6))
    write_local_similarity(out, text.detach().numpy(), image.detach().numpy(), padding.numpy(), block=block)
    out.flush()
    close(torch.from_numpy(np.load(tmp_path / "local.npy")), direct(text, image, padding).detach())


def test_bfloat16_of_a_whole_split_is_close_and_of_the_same_values_as_in_training(tmp_path):
    text, image, padding = draw((9, 12, 6, 10, 64), 0, True)
    out = np.empty((9, 6), np.float32)
    write_local_similarity(out, text.detach().numpy(), image.detach().numpy(), padding.numpy(), "bfloat16")
    close(torch.from_numpy(out), direct(text, image, padding).detach(), 5e-3)
    close(torch.from_numpy(out), local_similarity(text, image, padding, "bfloat16").detach(), 5e-3)
