"""What params.yaml may declare, and which of its layers wins."""

import re

import pytest
import yaml
from conftest import PARAMS, ROOT
from hypothesis import given
from hypothesis import strategies as st

from iebaker.config.declarations import check, notes, overridden, resolve
from iebaker.config.files import read_evaluation, read_training, write_configuration
from iebaker.config.params import EvaluationConfig, TrainingConfig
from iebaker.errors import IebakerError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": []}, "seeds: .*at least 1 item"),
        ({"seeds": [0, 0]}, "seeds: .*0 is there twice"),
        ({"seeds": [-1]}, "seeds.0: .*greater than or equal to 0"),
        ({"seeds": [1.5]}, "seeds.0: .*1.5"),
        ({"variants": "full"}, "variants: .*list.*'full'"),
        ({"variants": ["full", "full"]}, "'full' is there twice"),
        ({"variants": ["fool"]}, r"variant.fool is not defined \(there: baseline, "),
        ({"corpora": ["../.."]}, "corpora.0: .*pattern"),
        ({"corpora": ["rsicd"]}, r"\['rsicd'\] of corpus.rsicd.benchmarks not in benchmarks"),
        ({"corpora": ["rsicdd"]}, r"corpus.rsicdd is not defined \(there: synthetic, "),
        ({"benchmarks": ["mine"]}, "benchmark.mine is not defined"),
        ({"corpus": {"synthetic": {"benchmarks": []}}}, "corpus.synthetic.benchmarks: .*at least 1"),
        ({"corpus": {"synthetic": {"recipe": "scratch"}}}, "corpus.synthetic.benchmarks: is missing"),
        ({"corpus": None}, "corpus: .*dictionary"),
        ({"variant": {"full": "x"}}, "variant.full: .*dictionary"),
        ({"recipes": {"scratch": {"trian": {}}}}, "recipes.scratch.trian: no such key; did you mean train"),
        ({"evaa": {}}, "evaa: no such key"),
    ],
)
def test_selections_are_checked_as_a_whole(changes, message):
    assert check(PARAMS) == PARAMS
    with pytest.raises(IebakerError, match=message):
        check(PARAMS | changes)


def test_a_corpus_cannot_rename_a_training():
    with pytest.raises(IebakerError, match="corpus.synthetic.corpus: no such key"):
        resolve(with_value(PARAMS, "corpus.synthetic.corpus", "other"), "synthetic", "full")


def with_value(params: dict, path: str, value: object) -> dict:
    """`params` with the value at a dotted path set, or taken away where it is None."""
    key, _, rest = path.partition(".")
    changed = params | {key: with_value(params.get(key, {}), rest, value) if rest else value}
    return {name: inner for name, inner in changed.items() if name != key or inner is not None}


def value_of(params: dict, path: str, corpus: str = "synthetic", variant: str = "full") -> object:
    """What a training or its evaluation gets."""
    section, key = path.split(".")
    configs = resolve(params, corpus, variant)
    return next(getattr(config, section) for config in configs if hasattr(config, section)).model_dump()[key]


LAYERS = {
    "section": "{}",
    "recipe": "recipes.scratch.{}",
    "corpus": "corpus.synthetic.{}",
    "variant": "variant.full.{}",
}
OF_RECIPES = ["train.batch_size", "train.warmup_steps", "eba.start_epoch", "ker.layers", "fusion.local_weight"]
OF_SECTIONS = ["train.threads", "train.grad_clip", "sar.candidates", "sar.decay"]


@given(
    st.sampled_from(OF_RECIPES + OF_SECTIONS),
    st.dictionaries(st.sampled_from(list(LAYERS)), st.integers(2, 64), max_size=len(LAYERS)),
)
def test_which_layer_wins(path, said):
    """Where recipes set a key, its section holds what the user says; elsewhere, what all start from."""
    params = PARAMS
    for layer, place in LAYERS.items():
        params = with_value(params, place.format(path), said.get(layer))
    section, key = path.split(".")
    params = params | {section: {key: None} | params[section]}
    order = ["corpus", "recipe"]
    order.insert(0 if path in OF_RECIPES or "recipe" in said else 2, "section")
    expected = [said[layer] for layer in ("variant", *order) if layer in said]
    if expected:
        assert value_of(params, path) == expected[0]
    else:
        with pytest.raises(
            IebakerError, match=f"{path} is null.*recipes scratch, frozen, last-blocks, published in corpus.synthetic"
        ):
            value_of(params, path)


@pytest.mark.parametrize("corpus", PARAMS["corpus"])
def test_the_command_line_changes_every_corpus(corpus):
    """Such as `-S train.epochs=1`: each key that recipes set, to what each of them says."""
    assert not any(overridden(PARAMS, corpus).values())
    for recipe in PARAMS["recipes"].values():
        for section, values in recipe.items():
            for key, value in values.items():
                path = f"{section}.{key}"
                before, changed = value_of(PARAMS, path, corpus), with_value(PARAMS, path, value)
                assert value_of(changed, path, corpus) == value
                found = overridden(changed, corpus)[section]
                assert found == {key: (value, before)}
                assert f"{path}={value} instead of {found[key][1]}" in notes(
                    changed, resolve(changed, corpus, "full")[0]
                )


def test_a_corpus_without_recipe_takes_what_the_sections_say():
    mine = with_value(PARAMS, "corpus.mine", {"benchmarks": ["synthetic"]})
    with pytest.raises(
        IebakerError, match=r"model\.name is null, and neither corpus\.mine nor a recipe sets it.*frozen"
    ):
        resolve(mine, "mine", "full")
    for section, values in PARAMS["recipes"]["scratch"].items():
        for key, value in values.items():
            mine = with_value(mine, f"{section}.{key}", value)
    for ours, theirs in zip(resolve(mine, "mine", "full"), resolve(PARAMS, "synthetic", "full"), strict=True):
        assert ours.model_dump(exclude={"corpus"}) == theirs.model_dump(exclude={"corpus"})


@pytest.mark.parametrize("layer", ["recipes.scratch", "corpus.synthetic"])
@pytest.mark.parametrize(("path", "value"), [("eba.scheme", "none"), ("ker.enabled", False), ("sar.method", "none")])
def test_what_users_switch_is_theirs(layer, path, value):
    with pytest.raises(IebakerError, match=rf"{layer}\.{path} would shadow -S {path}=.*or in variant\.<name>\.{path}"):
        resolve(with_value(PARAMS, f"{layer}.{path}", value), "synthetic", "full")
    switched = with_value(PARAMS, path, value)
    found = resolve(switched, "synthetic", "full")
    if path == "sar.method":
        assert found[1].sar.method == "none"
    else:
        assert getattr(found[0], path.split(".")[0]) is None
    assert resolve(switched, "synthetic", "eba-coupled")[0].eba.scheme == "coupled"


def test_the_banks_size_is_that_of_the_section():
    """One export serves every variant."""
    for layer in ("recipes.scratch", "corpus.synthetic"):
        with pytest.raises(IebakerError, match=rf"{layer}\.sar\.bank_size would shadow") as error:
            resolve(with_value(PARAMS, f"{layer}.sar.bank_size", 7), "synthetic", "full")
        assert "variant" not in str(error.value)
    assert value_of(with_value(PARAMS, "sar.bank_size", 7), "sar.bank_size") == 7


def test_unknown_names_are_refused():
    for names, message in (
        (("rsicdd", "full"), r"corpus\.rsicdd is not defined"),
        (("synthetic", "fool"), r"variant\.fool is not defined"),
    ):
        with pytest.raises(IebakerError, match=message):
            resolve(PARAMS, *names)
    with pytest.raises(
        IebakerError, match=r"recipes\.scrach is not defined \(there: scratch, frozen, last-blocks, published\)"
    ):
        resolve(with_value(PARAMS, "corpus.synthetic.recipe", "scrach"), "synthetic", "full")


def test_variants_resolve_to_what_they_are_called():
    found = {name: resolve(PARAMS, "synthetic", name)[0] for name in PARAMS["variant"]}
    assert {name: config.eba and config.eba.scheme for name, config in found.items()} == {
        "clip": None, "zero-shot": None, "baseline": None, "eba-coupled": "coupled", "eba-decoupled": "decoupled",
        "ker": None, "full": PARAMS["eba"]["scheme"],
    }  # fmt: skip
    assert {name for name, config in found.items() if config.ker} == {"ker", "full"}
    assert {name for name, config in found.items() if not config.local.loss} == {"clip", "zero-shot"}


def test_what_has_no_effect_is_not_in_the_configuration(tmp_path):
    """So that changing it trains nothing again."""
    changed = PARAMS
    for path, value in (("eba.drop_ratio", 0.5), ("ker.weight", 9), ("fusion.local_weight", 0.9), ("sar.beta", 9)):
        changed = with_value(changed, path, value)
    for variant, same in (("baseline", True), ("full", False)):
        for name, params in (("before", PARAMS), ("after", changed)):
            write_configuration(tmp_path / name, *resolve(params, "synthetic", variant))
            assert (read_training(tmp_path / name), read_evaluation(tmp_path / name)) == resolve(
                params, "synthetic", variant
            )
        before, after = ((tmp_path / name / "training.yaml").read_bytes() for name in ("before", "after"))
        assert (before == after) == same


def test_notes_say_whose_value_counts_where_no_recipe_sets_one():
    more = with_value(PARAMS, "train.injected_rate", 0.4)
    assert (
        "train.injected_rate=0.2, as corpus.rsicd-mismatched says, and not 0.4: "
        "-S corpus.rsicd-mismatched.train.injected_rate=... changes it"
    ) in notes(more, resolve(more, "rsicd-mismatched", "baseline")[0])
    same = with_value(PARAMS, "train.injected_rate", 0.2)
    assert not [note for note in notes(same, resolve(same, "rsicd-mismatched", "clip")[0]) if "injected" in note]


def test_notes_say_what_will_do_nothing():
    assert notes(PARAMS, resolve(PARAMS, "synthetic", "full")[0]) == []
    late = with_value(PARAMS, "train.epochs", 2)
    assert "eba.start_epoch=2 is not below train.epochs=2: nothing will be eliminated" in notes(
        late, resolve(late, "synthetic", "full")[0]
    )
    whole = with_value(PARAMS, "model.lock_image", False)
    assert "without model.lock_image its whole trunk trains: model.unlocked_image=2 does nothing" in notes(
        whole, resolve(whole, "rsicd", "full")[0]
    )
    published = with_value(with_value(PARAMS, "local.mask_padding", False), "train.length_groups", 4)
    assert "with local.mask_padding=false padding counts and is not cut: train.length_groups=4 does nothing" in notes(
        published, resolve(published, "synthetic", "full")[0]
    )
    plain = with_value(PARAMS, "local.loss", 0)
    said = "without a local loss, eba.scheme=decoupled does what coupled does"
    for variant, told in (("full", True), ("eba-coupled", False), ("clip", False)):
        assert (said in notes(plain, resolve(plain, "synthetic", variant)[0])) == told


def test_every_declared_training_is_valid():
    for corpus in PARAMS["corpus"]:
        for variant in PARAMS["variant"]:
            training, evaluation = resolve(PARAMS, corpus, variant)
            assert isinstance(training, TrainingConfig) and isinstance(evaluation, EvaluationConfig)


def test_the_command_of_the_docs_is_the_published_recipe():
    page = (ROOT / "docs/method.md").read_text()
    command = next(block for block in page.split("```") if "corpora=[ret3]" in block)
    switched, settings = PARAMS, re.findall(r"-S '?([\w.]+)=([^\s']+)", command)
    for key, value in settings:
        switched = with_value(switched, key, yaml.safe_load(value))
    assert switched["corpora"] == ["ret3"] and switched["variants"] == ["full"] and len(settings) == 11
    training, evaluation = (config.model_dump() for config in resolve(switched, "ret3", "full"))
    published = {
        "model": {"name": "ViT-B-32-quickgelu", "pretrained": "openai", "lock_image": False, "lock_text": False},
        "train": {
            "epochs": 7, "batch_size": 100, "pairs": "all", "lr": 1.5e-5, "weight_decay": 0.7, "warmup_steps": 200,
            "grad_clip": 50.0, "logit_scale": 2.996, "crop_scale": 0.9, "orientations": 1, "injected_rate": 0.0,
            "leakage": "keep", "precision": "float16",
        },
        "eba": {"scheme": "coupled", "drop_ratio": 0.01, "start_epoch": 4, "bank": "reference", "bank_size": 200000},
        "ker": {
            "enabled": True, "weight": 0.5, "layers": 2, "mask_ratio": 1.0, "alignment": "reference",
            "vocabulary": "full",
        },
        "local": {"loss": 1.0, "mask_padding": False},
        "fusion": {"global_weight": 0.6, "local_weight": 0.4, "standardise": False},
    }  # fmt: skip
    for section, values in published.items():
        found = (training | evaluation)[section]
        assert {key: found[key] for key in values} == values
