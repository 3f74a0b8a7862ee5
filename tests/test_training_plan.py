import dataclasses

import pytest
from training_fixtures import config

from iebaker.errors import IebakerError
from iebaker.training.plan import make_plan


def test_what_cannot_be_trained_is_said_before_any_model_is_built(corpus):
    only = corpus[0]
    manifest = only.manifest
    without = dataclasses.replace(only, manifest=manifest[manifest["split"] != "val"])
    with pytest.raises(IebakerError, match=r"synthetic: no validation split.*benchmark\.synthetic\.validation_share"):
        make_plan(config(), [only, without], 0)
    alike = dataclasses.replace(only, manifest=manifest.assign(phash=manifest["phash"].iat[0]))
    with pytest.raises(IebakerError, match="no training pair: 120 training images were left out as near-duplicates"):
        make_plan(config(), [alike], 0)
    with pytest.raises(IebakerError, match="train.batch_size=121 exceeds the 1[0-9]{2} pairs of an epoch"):
        make_plan(config(train={"batch_size": 121}), corpus, 0)
    with pytest.raises(IebakerError, match="ker.mask_ratio < 1 .*set ker.mask_ratio=1 or model.lock_text=false"):
        make_plan(config(model={"lock_text": True}, ker={"mask_ratio": 0.5}), corpus, 0)


def test_leaked_images_are_kept_where_that_is_asked_for(corpus):
    manifest = corpus[0].manifest
    alike = dataclasses.replace(corpus[0], manifest=manifest.assign(phash=manifest["phash"].iat[0]))
    plan = make_plan(config(train={"leakage": "keep"}), [alike], 0)
    assert plan.left_out.empty and len(plan.pairs) == (manifest["split"] == "train").sum()


@pytest.mark.parametrize("pairs", ["all", "one_per_image", "whole_images"])
def test_steps_are_those_of_whole_batches(corpus, pairs):
    plan = make_plan(config(train={"pairs": pairs, "batch_size": 7}), corpus, 0)
    images = plan.pairs["image_id"].nunique()
    assert plan.epoch_pairs == (images if pairs == "one_per_image" else len(plan.pairs))
    assert plan.steps == 3 * (plan.epoch_pairs // 7)
    assert plan.captions == plan.pairs["caption"].tolist()


def test_warmup_is_at_most_a_tenth_of_the_run(corpus):
    for wanted, found in ((0, 0), (1, 1), (200, 5)):
        plan = make_plan(config(train={"warmup_steps": wanted, "batch_size": 7}), corpus, 0)
        assert plan.steps // 10 == 5 and plan.warmup == found


def test_injected_captions_depend_on_the_seed(corpus):
    first, again, other = (make_plan(config(train={"injected_rate": 0.5}), corpus, seed).pairs for seed in (0, 0, 1))
    assert first.equals(again) and not first.equals(other)
    assert (first["weak"] == "injected").mean() > 0.3
