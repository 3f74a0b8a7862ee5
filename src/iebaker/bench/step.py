"""One training step on ViT-B-32: the objective, its published formulation, a plain CLIP, the towers alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from iebaker.bench import naive
from iebaker.bench.measure import Measurement, cpu_seconds, in_child, least_seconds
from iebaker.config.declarations import resolve
from iebaker.config.params import KerParams, TrainingConfig
from iebaker.errors import IebakerError
from iebaker.layout import PARAMS
from iebaker.method.eba import Elimination
from iebaker.method.keyword_head import KeywordHead
from iebaker.method.masking import MaskedBatch
from iebaker.method.task import Batch, MaskedCaptions, RetrievalTask
from iebaker.model import factory
from iebaker.model.compat import open_clip
from iebaker.model.quick_gelu import QuickGELU, exchange
from iebaker.model.towers import RetrievalModel, adamw_groups
from iebaker.training.gradients import backward

BATCH, LARGE = 32, 100  # pairs: a small batch, and the published one
LENGTH_GROUPS = 4  # of ours: the fewest that save most of the padding
SHORTEST, LONGEST, KEYWORDS = 9, 30, 3  # tokens of a caption, and those of its keywords
PROCESSOR = torch.device("cpu")
CLASSES = 800  # keywords of the three merged training sets
START, END, MASK, VOCABULARY = 49406, 49407, 49405, 49408


class Pairs(NamedTuple):
    """Random pairs: images (B, 3, S, S), token ids (B, L), and the same masked."""

    images: Tensor
    texts: Tensor
    masked: MaskedBatch

    def to(self, device: torch.device) -> "Pairs":
        """The same, there, but for token ids, which a tower's `inputs` moves."""
        masked = MaskedBatch(self.masked.token_ids, *(values.to(device) for values in self.masked[1:]))
        return Pairs(self.images.to(device), self.texts, masked)


def rows() -> Iterator[Measurement]:
    """Times of a step at BATCH pairs side by side, and at LARGE one after the other, with memory, also in two chunks.

    The published formulation takes minutes and more memory than all else, so that it runs once, at LARGE. Of a single
    step nothing is said of plain CLIP: in a first step the kernel gives out memory for up to a third of the time.
    """
    times, _ = in_child(_side_by_side, BATCH)
    ours, plain, bound = (times[which] for which in ("ours", "plain", "bound"))
    yield Measurement(f"training step, ViT-B-32, {BATCH} pairs", ours, plain=plain, bound=bound)
    name = f"training step, ViT-B-32, {LARGE} pairs"
    (published, published_peak), note = (None, None), ""
    try:
        published, published_peak = in_child(_once, "naive", LARGE)
    except IebakerError as error:  # ours is measured all the same
        note = str(error)
    for which, how in (("ours", ""), ("chunks", f" in chunks of {LARGE // 2}")):
        ours, peak = in_child(_once, which, LARGE)
        yield Measurement(name + how, ours, published, ours_peak=peak, naive_peak=published_peak, note=note)


def published_config(**model: str) -> TrainingConfig:
    """The published recipe from random weights; padding counts nowhere, and little of it is computed."""
    params = yaml.safe_load(Path(PARAMS).read_text())
    ours = {"model": {"pretrained": "", **model}, "train": {"length_groups": LENGTH_GROUPS}}
    corpus = {"benchmarks": params["benchmarks"], "recipe": "published", **ours}
    return resolve(params | {"corpus": {"published": corpus}}, "published", "full")[0]


def draw(count: int, side: int, context: int) -> Pairs:
    """Captions of SHORTEST to LONGEST tokens, KEYWORDS of each a keyword."""
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(1000, 40000, (count, context), generator=generator)
    lengths = torch.randint(SHORTEST, LONGEST + 1, (count, 1), generator=generator)
    columns = torch.arange(context)
    texts = words.masked_fill(columns == 0, START).masked_fill(columns == lengths - 1, END)
    texts = texts.masked_fill(columns >= lengths, 0)
    masked = ((columns > 1) & (columns <= 1 + KEYWORDS)).expand(count, -1)
    classes = texts[masked] % CLASSES
    images = torch.randn(count, 3, side, side, generator=generator)
    return Pairs(images, texts, MaskedBatch(texts.masked_fill(masked, MASK), masked, classes))


def works(
    config: TrainingConfig, count: int, *names: str, device: torch.device = PROCESSOR
) -> dict[str, Callable[[], Tensor]]:
    """What is compared, each with its own model: one step of each on `count` pairs; `naive` on CPU only."""
    found = {}
    for name in names:
        torch.manual_seed(0)
        model = factory.create(config.model).to(device).train()
        model.read(tokens=name in ("ours", "chunks", "naive"), trim=name != "naive")
        pairs = draw(count, model.preprocess.size, model.tokenizer.context_length).to(device)
        work = {"ours": _ours, "chunks": _chunks, "naive": _naive, "plain": _plain, "bound": _towers}[name]
        found[name] = work(config, model, pairs)
    return found


def _chunks(config: TrainingConfig, model: RetrievalModel, pairs: Pairs) -> Callable[[], Tensor]:
    """Ours, half of the pairs at a time."""
    return _ours(config, model, pairs, chunk_size=len(pairs.images) // 2)


def _ours(config: TrainingConfig, model: RetrievalModel, pairs: Pairs, chunk_size: int = 0) -> Callable[[], Tensor]:
    device = model.image.device
    head = KeywordHead(model.embed_dim, CLASSES, cast(KerParams, config.ker).layers).to(device)
    task = RetrievalTask(config, model, Elimination(config.eba, 1000), head)
    model.text.length_groups = config.train.length_groups
    masked = MaskedCaptions(model.text.inputs(pairs.masked.token_ids), *pairs.masked[1:], of=len(pairs.masked.classes))
    batch = Batch(pairs.images, model.text.inputs(pairs.texts), masked, seed=0)
    scaler = torch.amp.GradScaler(device.type, enabled=False)
    return _stepping(lambda: backward(task, batch, chunk_size, scaler)["loss"], model, head)


def _naive(config: TrainingConfig, model: RetrievalModel, pairs: Pairs) -> Callable[[], Tensor]:
    exchange(model, QuickGELU, open_clip.transformer.QuickGELU)
    head = KeywordHead(model.embed_dim, VOCABULARY, cast(KerParams, config.ker).layers)
    labels = torch.where(pairs.masked.masked, pairs.texts, 0)
    inputs = (pairs.images, pairs.texts, pairs.masked.token_ids, labels, 20.0)
    return _stepping(lambda: _backward(naive.step_loss(model, head, *inputs)), model, head)


def _plain(config: TrainingConfig, model: RetrievalModel, pairs: Pairs) -> Callable[[], Tensor]:
    texts, own = model.text.inputs(pairs.texts), torch.arange(len(pairs.images), device=model.image.device)

    def loss() -> Tensor:
        with _autocast(config, model):
            image, text = model.image(pairs.images).pooled, model.text(texts).pooled
            cosines = 20 * F.normalize(text, dim=-1) @ F.normalize(image, dim=-1).T
            found = F.cross_entropy(cosines, own) + F.cross_entropy(cosines.T, own)
        return _backward(found)

    return _stepping(loss, model)


def _towers(config: TrainingConfig, model: RetrievalModel, pairs: Pairs) -> Callable[[], Tensor]:
    """Forward and backward, no optimiser."""
    texts = model.text.inputs(pairs.texts)
    gradient = torch.randn(len(pairs.images), model.embed_dim, device=model.image.device)

    def step() -> Tensor:
        with _autocast(config, model):
            image, text = model.image(pairs.images).pooled, model.text(texts).pooled
            found = (image * gradient).sum() + (text * gradient).sum()
        loss = _backward(found)
        model.zero_grad()
        return loss

    return step


def _autocast(config: TrainingConfig, model: RetrievalModel) -> torch.autocast:
    precision = getattr(torch, config.train.precision)
    return torch.autocast(model.image.device.type, precision, enabled=precision != torch.float32)


def _backward(loss: Tensor) -> Tensor:
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
    return loss.detach()


def _stepping(
    differentiated: Callable[[], Tensor], model: RetrievalModel, head: KeywordHead | None = None
) -> Callable[[], Tensor]:
    groups = model.parameter_groups(1e-5, 0, 0.7) + (adamw_groups(head.parameters(), 1e-5, 0.7) if head else [])
    optimiser = torch.optim.AdamW(groups, fused=True)

    def step() -> Tensor:
        optimiser.zero_grad()
        value = differentiated()
        optimiser.step()
        return value

    return step


def _side_by_side(count: int) -> dict[str, float]:
    # the least is that of the second step: in the first one the optimiser makes its state
    return least_seconds(2, **works(published_config(), count, "ours", "plain", "bound"))


def _once(name: str, count: int) -> float:
    """The first step, which makes the optimiser's state too."""
    return cpu_seconds(works(published_config(), count, name)[name])
