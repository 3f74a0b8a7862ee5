"""Local similarities of whole test sets: the published formulation, ours, and the matrix product that remains."""

from collections.abc import Iterator

import numpy as np
import torch

from iebaker.bench import naive
from iebaker.bench.measure import Measurement, clock_seconds, cpu_seconds, in_child, least_seconds
from iebaker.errors import IebakerError
from iebaker.method.similarity import STRIPS, Precision, write_local_similarity

LENGTH, PATCHES, WIDTH = 77, 49, 512  # of ViT-B-32
SHORTEST, LONGEST = 9, 40  # tokens of RSICD's captions, most near the lower end
RSICD, NWPU = (5465, 1093), (15750, 3150)
PART = 100  # texts and images that the published formulation is timed on: it is fastest with few
LARGE = 800, 400  # and with which it fills a laptop's memory
BLOCK = 256  # texts at a time: more take no more memory
TEXTS = 8 * BLOCK  # that ours and the product are timed on


def rows() -> Iterator[Measurement]:
    """Times at RSICD's size, of one thread and by the clock with all cores, and memory there and at NWPU's."""
    times, _ = in_child(_seconds)
    pairs = RSICD[0] * RSICD[1]
    note = f"ours and bound on {TEXTS} of the texts, naive on {PART} x {PART} pairs, scaled"
    for precision in ("float32", "bfloat16"):
        name = f"local similarity, RSICD's {RSICD[0]} x {RSICD[1]}, {precision}"
        share = TEXTS / RSICD[0]
        seconds = times[precision] / share, times["naive"] * pairs / PART**2, None, times["bound"] / share
        peak = in_child(_ours, RSICD, precision, BLOCK)[1]
        yield Measurement(name, *seconds, ours_peak=peak, note=note)
    published, published_peak = None, None
    note = f"seconds of all cores by the clock; naive on {LARGE[0]} x {LARGE[1]} pairs, scaled"
    try:
        published, published_peak = in_child(_naive_by_the_clock)
    except IebakerError as error:  # ours is measured all the same
        note = str(error)
    for precision in ("float32", "bfloat16"):
        name = f"local similarity, RSICD's {RSICD[0]} x {RSICD[1]}, {precision}, by the clock"
        ours, peak = in_child(_ours_by_the_clock, precision)
        yield Measurement(name, ours, published, ours_peak=peak, naive_peak=published_peak, note=note)
    texts = 2 * BLOCK
    ours, peak = in_child(_ours, NWPU, "float32", texts)
    name, note = f"local similarity, NWPU's {NWPU[0]} x {NWPU[1]}, float32", f"on {texts} of the texts, scaled"
    yield Measurement(name, ours, ours_peak=peak, note=note)


def draw(texts: int, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random tokens of both sides, captions by length, and their padding."""
    generator = np.random.default_rng(0)
    lengths = np.sort(np.minimum(SHORTEST + generator.geometric(1 / 6, texts) - 1, LONGEST))
    text_tokens = generator.standard_normal((texts, lengths.max(), WIDTH), np.float32)
    image_tokens = generator.standard_normal((images, PATCHES, WIDTH), np.float32)
    return text_tokens, image_tokens, np.arange(lengths.max()) >= lengths[:, None]


def _seconds() -> dict[str, float]:
    """CPU seconds of ours in both precisions, the product alone, and the published formulation, each on its part."""
    text, image, padding = draw(*RSICD)
    chosen = np.linspace(0, RSICD[0] - 1, TEXTS).astype(int)  # of all lengths
    text, padding = text[chosen], padding[chosen]
    out = np.empty((TEXTS, RSICD[1]), np.float32)
    few = torch.randn(PART, LENGTH, WIDTH), torch.from_numpy(image[:PART])
    strip = WIDTH // STRIPS
    columns = sum(strip * (WIDTH - start) for start in range(0, WIDTH, strip))
    left, right = torch.randn(BLOCK, columns // STRIPS), torch.randn(RSICD[1], columns // STRIPS)

    def ours(precision: Precision) -> None:
        write_local_similarity(out, text, image, padding, precision)

    def product() -> None:
        for _ in range(STRIPS * TEXTS // len(left)):
            left @ right.T

    return least_seconds(
        2,
        naive=lambda: naive.local_similarity(*few),
        float32=lambda: ours("float32"),
        bfloat16=lambda: ours("bfloat16"),
        bound=product,
    )


def _ours(size: tuple[int, int], precision: Precision, texts: int) -> float:
    """CPU seconds for a whole set, scaled up from its first `texts`, with all of it in memory."""
    text, image, padding = draw(*size)
    out = np.zeros(size, np.float32)
    out += 1  # so that all of it is in memory
    part = slice(0, texts)
    seconds = cpu_seconds(lambda: write_local_similarity(out[part], text[part], image, padding[part], precision))
    return seconds * size[0] / texts


def _ours_by_the_clock(precision: Precision) -> float:
    text, image, padding = draw(*RSICD)
    out = np.zeros(RSICD, np.float32)
    return clock_seconds(lambda: write_local_similarity(out, text, image, padding, precision))


def _naive_by_the_clock() -> float:
    text, image = (torch.randn(*shape, WIDTH) for shape in zip(LARGE, (LENGTH, PATCHES), strict=True))
    seconds = clock_seconds(lambda: naive.local_similarity(text, image))
    return seconds * RSICD[0] * RSICD[1] / LARGE[0] / LARGE[1]
