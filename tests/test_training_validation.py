import numpy as np
import pytest
import torch
from training_fixtures import make_trainer

from iebaker.corpus import loading
from iebaker.metrics.recall import hits, recalls, relevance
from iebaker.training.validation import separation, validate


def cosines(model, captions, pixels):
    """(captions, images), one after the other."""
    model.eval()
    with torch.no_grad():
        texts = torch.cat([model.text(model.tokenizer([caption])).pooled for caption in captions])
        images = model.image(model.preprocess(torch.from_numpy(np.array(pixels)))).pooled
        return (torch.nn.functional.normalize(texts, dim=-1) @ torch.nn.functional.normalize(images, dim=-1).T).numpy()


def test_separation_is_that_of_each_caption_with_its_own_image(corpus):
    """Against the definition, pair by pair; and nothing is reported where nothing is known."""
    trainer = make_trainer(corpus)
    model, pairs = trainer.model, trainer.plan.pairs
    found = separation(model, corpus, pairs)
    image_ids, own = np.unique(pairs["image_id"].to_numpy(), return_inverse=True)
    values = cosines(model, pairs["caption"], corpus[0].pixels[image_ids])[np.arange(len(pairs)), own]
    weak = pairs["weak"].to_numpy() != ""
    exact = np.mean(values[~weak][:, None] > values[weak][None])
    assert found["auroc"] == pytest.approx(exact, abs=1e-3)
    assert set(found) == {"auroc"} | {f"auroc_{kind}" for kind in set(pairs["weak"]) - {""}}
    assert separation(model, corpus, pairs.assign(weak="")) == {}
    model.image.orientations = 8
    assert separation(model, corpus, pairs) == found, "of images as they are"


def test_validation_is_the_mean_recall_of_the_global_similarity(corpus):
    model, split = make_trainer(corpus).model, loading.split_of(corpus[0], "val")
    matrix = cosines(model, split.captions, corpus[0].pixels[split.image_ids])
    # identical captions tie exactly only where they are encoded together
    first = {caption: row for row, caption in reversed(list(enumerate(split.captions)))}
    matrix = matrix[[first[caption] for caption in split.captions]]
    expected = recalls(hits(matrix, matrix, relevance(split.image_of_text)))["mR"]
    assert validate(model, corpus) == pytest.approx(expected, abs=0.5)
    assert validate(model, [corpus[0], corpus[0]]) == validate(model, corpus)
