"""One model on one split, without a pipeline: what it reaches under a published protocol (method: Evaluation)."""

from typing import Any, Literal

import numpy as np

from iebaker.datasets.evaluation_split import EvaluationSplit
from iebaker.errors import IebakerError
from iebaker.method.similarity import global_similarity, write_local_similarity
from iebaker.metrics import skyscript
from iebaker.metrics.recall import Hits, caption_ids, require_numbers
from iebaker.metrics.summary import SplitMetrics
from iebaker.model.encoding import encode_captions, encode_images
from iebaker.model.towers import RetrievalModel
from iebaker.retrieval.fusion import fuse

Protocol = Literal["strict", "skyscript"]
# each protocol's own
PROMPTS = {"strict": "{}", "skyscript": "a satellite image. {}"}
PLACE = "{}"


def evaluate_model(
    model: RetrievalModel, split: EvaluationSplit, protocol: Protocol, prompt: str, local_weight: float = 0.0
) -> dict[str, Any]:
    """Encode a split and measure it.

    Args:
        model: any.
        split: images and captions.
        protocol: strict as in the pipeline; skyscript merges identical captions, see `metrics.skyscript`.
        prompt: what the text tower reads, the caption in place of {}.
        local_weight: w of (1 - w) S + w L; 0 reads no tokens.

    Returns:
        `similarity`, `prompt`; `images`, `captions`, `distinct_captions`, `queries` of either direction and
        `decided_by_ties`, those whose hit at any rank is neither sure nor impossible; `metrics`: "plain" (mR in percent
        with its 95% interval and the recalls), under strict also "plain_lenient" and the ceilings; `notes`.

    Raises:
        IebakerError: for a prompt without place for the caption, or features that are no numbers.
    """
    if PLACE not in prompt:
        raise IebakerError(f"--prompt {prompt!r}: {PLACE} must stand where the caption belongs")
    notes = list(split.notes) + ([model.caution] if model.caution else [])
    if not model.has_tokens:
        notes.append(f"{model.name} has no local tokens ({model.tokens_missing}): numbers of the global similarity")
        local_weight = 0.0
    scores, row = _scores(model, split, prompt, local_weight)
    if protocol == "strict":
        measures = SplitMetrics(split.image_of_text, split.captions)
        found = measures.measure("plain", scores[row], scores[row])
        metrics = measures.summary({name: [hits] for name, hits in found.items()})
    else:
        queries = skyscript.merge(split.captions, split.image_of_text)
        found = {"plain": skyscript.measure(scores[row[queries.first]], queries)}
        metrics = {"plain": skyscript.summarise(found["plain"], queries)}
    plain = found["plain"]
    return {
        "protocol": protocol,
        "prompt": prompt,
        "similarity": f"{1 - local_weight:g} global + {local_weight:g} local" if local_weight else "global",
        "images": len(plain.image_to_text),
        "captions": len(split.captions),
        "distinct_captions": int(caption_ids(split.captions).max()) + 1,
        "left_out": split.left_out,
        "queries": {side: len(values) for side, values in plain._asdict().items()},
        "decided_by_ties": _decided_by_ties(plain),
        "metrics": metrics,
        "notes": notes,
    }


def _scores(
    model: RetrievalModel, split: EvaluationSplit, prompt: str, local_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """(N_distinct, N_image) similarities of distinct captions, and (N_text,) the row of each caption."""
    tokens = local_weight > 0
    model.read(tokens=tokens)
    captions = [prompt.replace(PLACE, caption) for caption in split.captions]
    texts = encode_captions(model.text, captions, tokens, progress="captions")
    images = encode_images(model.image, split.images(model.preprocess.size), tokens, progress="images")
    scores = global_similarity(texts.features.pooled, images.features.pooled).numpy()
    if tokens:
        local, words, patches = np.empty_like(scores), texts.features.tokens.numpy(), images.features.tokens.numpy()
        write_local_similarity(local, words, patches, texts.features.padding.numpy())
        scores = fuse(scores, local, 1 - local_weight, local_weight)
    require_numbers(scores, finite=True)
    return scores, texts.row


def _decided_by_ties(measured: Hits) -> dict[str, int]:
    return {side: int(((hits > 0) & (hits < 1)).any(axis=1).sum()) for side, hits in measured._asdict().items()}
