"""params.yaml as a whole: what it selects is defined, and one training is resolved from its layers.

The plural selects, the singular of the same word defines: `corpora: [rsicd]` and `corpus.rsicd: {...}`. What a section
may hold is in params.py.

A section's key that is null stands for the recipe's value: recipes.<name> < corpus.<name>. A value there wins over
both, so that `-S train.epochs=1` shortens any corpus's training. All other keys: section < recipe < corpus. A variant
wins over everything.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from iebaker.config.params import ArchiveParams, EvaluationConfig, TrainingConfig, parse
from iebaker.config.section import Section
from iebaker.errors import IebakerError

NAME = r"^\w[\w.-]*$"  # of what becomes a folder


def _distinct(values: list[Any]) -> list[Any]:
    if repeated := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"{repeated[0]!r} is there twice; name each once")
    return values


Name = Annotated[str, Field(pattern=NAME)]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**32)]  # names a folder: neither true nor 00
Values = dict[str, Any]


class Overlay(Section):
    """Values of sections that a recipe or a variant sets."""

    model: Values = {}
    train: Values = {}
    eba: Values = {}
    ker: Values = {}
    local: Values = {}
    fusion: Values = {}
    sar: Values = {}


class CorpusDefinition(Overlay):
    """`corpus.<name>`: what is trained together, by which recipe, and what differs from it."""

    benchmarks: Names
    recipe: str = ""


class Declarations(Section):
    """params.yaml as a whole: selections, definitions, and the sections that a training or a stage reads."""

    benchmarks: Names
    corpora: Names
    variants: Names
    archives: Annotated[list[Name], AfterValidator(_distinct)] = []
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(_distinct)]
    benchmark: dict[Name, Values]
    corpus: dict[Name, CorpusDefinition]
    variant: dict[Name, Overlay]
    archive: dict[Name, ArchiveParams] = {}
    recipes: dict[Name, Overlay]
    synthetic: Values
    keywords: Values
    model: Values
    train: Values
    eba: Values
    ker: Values
    local: Values
    fusion: Values
    sar: Values


SECTIONS = tuple(Overlay.model_fields)
# what users switch on the command line: recipes and corpora may not set it
SWITCHES = (("eba", "scheme"), ("ker", "enabled"), ("sar", "method"))
# read by the export of every variant alike
UNLAYERED = (("sar", "bank_size"),)


def check(params: dict[str, Any]) -> dict[str, Any]:
    """params.yaml as plain data, if it declares what it selects.

    Raises:
        IebakerError: naming an unknown section, an empty or repeated selection, or a name that is not defined.
    """
    declared = parse(Declarations, params, "")
    definitions_of = {"benchmarks": "benchmark", "corpora": "corpus", "variants": "variant", "archives": "archive"}
    for selection, definitions in definitions_of.items():
        for name in getattr(declared, selection):
            require_defined(params, definitions, name)
    for corpus in declared.corpora:
        if absent := sorted(set(declared.corpus[corpus].benchmarks) - set(declared.benchmarks)):
            raise IebakerError(f"params: {absent} of corpus.{corpus}.benchmarks not in benchmarks; add or drop them")
    return params


def require_defined(params: Mapping[str, Any], definitions: str, name: str) -> None:
    """Raise IebakerError unless `definitions`, such as corpus, has an entry of that name."""
    if name not in params.get(definitions, {}):
        known = ", ".join(params.get(definitions, {})) or "none"
        raise IebakerError(f"params: {definitions}.{name} is not defined (there: {known}); add it to params.yaml")


def resolve(params: Mapping[str, Any], corpus: str, variant: str) -> tuple[TrainingConfig, EvaluationConfig]:
    """One training's parameters, and those of its evaluation.

    Raises:
        IebakerError: for unknown names, misspelt keys, impossible values, a switch inside a recipe or corpus, or a
            value that is null everywhere.
    """
    layers = _layers(params, corpus)
    require_defined(params, "variant", variant)
    override = parse(Overlay, params["variant"][variant] or {}, f"variant.{variant}")
    winning = overridden(params, corpus)
    values = {}
    for section in SECTIONS:
        merged = dict(params[section])
        for layer in layers.values():
            merged |= getattr(layer, section)
        for key, (value, _) in winning[section].items():
            merged[key] = value
        values[section] = merged | getattr(override, section)
        for key, value in values[section].items():
            if value is None:
                raise IebakerError(
                    f"params: {section}.{key} is null, and neither corpus.{corpus} nor a recipe sets it; name one of "
                    f"the recipes {', '.join(params['recipes'])} in corpus.{corpus}.recipe, or set {section}.{key}"
                )
    evaluation = {section: values.pop(section) for section in EvaluationConfig.model_fields}
    where = f"{corpus}/{variant}"
    training = parse(TrainingConfig, {"corpus": corpus, "variant": variant, **values}, where)
    unused: dict[str, None] = {}
    if training.eba and training.eba.scheme == "none":
        unused["eba"] = None
    if training.ker and not training.ker.enabled:
        unused["ker"] = None
    return training.model_copy(update=unused), parse(EvaluationConfig, evaluation, where)


def overridden(params: Mapping[str, Any], corpus: str) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Per section, the keys whose value there wins over what the recipe or the corpus says: (value, theirs)."""
    layers = _layers(params, corpus).values()
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for section, of_recipes in _keys_of_recipes(params).items():
        theirs: Values = {}
        for layer in layers:
            theirs |= getattr(layer, section)
        given = {key: value for key, value in params[section].items() if value is not None and key in of_recipes}
        found[section] = {key: (value, theirs.get(key)) for key, value in given.items()}
    return found


def without_overrides(params: Mapping[str, Any]) -> Values:
    """params.yaml with null in its sections wherever recipes decide: each corpus as it is defined."""
    nulls = {section: dict.fromkeys(keys) for section, keys in _keys_of_recipes(params).items()}
    return {**params, **{section: params[section] | nulls[section] for section in SECTIONS}}


def _keys_of_recipes(params: Mapping[str, Any]) -> dict[str, set[str]]:
    recipes = [parse(Overlay, recipe or {}, f"recipes.{name}") for name, recipe in params["recipes"].items()]
    return {section: {key for recipe in recipes for key in getattr(recipe, section)} for section in SECTIONS}


def notes(params: Mapping[str, Any], training: TrainingConfig) -> list[str]:
    """What a user should know of one resolved training: what -S changed, and parts that will do nothing."""
    found = []
    for section, keys in overridden(params, training.corpus).items():
        found += [f"{section}.{key}={value} instead of {theirs}" for key, (value, theirs) in keys.items()]
    for place, section, key, value in _not_overridden(params, training.corpus):
        found.append(
            f"{section}.{key}={value}, as {place} says, and not {params[section][key]}: "
            f"-S {place}.{section}.{key}=... changes it"
        )
    for side in ("image", "text"):
        if (count := getattr(training.model, f"unlocked_{side}")) and not getattr(training.model, f"lock_{side}"):
            found.append(
                f"without model.lock_{side} its whole trunk trains: model.unlocked_{side}={count} does nothing"
            )
    if training.train.length_groups > 1 and not training.local.mask_padding:
        found.append(
            "with local.mask_padding=false padding counts and is not cut: "
            f"train.length_groups={training.train.length_groups} does nothing"
        )
    eba = training.eba
    if eba and eba.scheme == "decoupled" and not training.local.loss:
        found.append("without a local loss, eba.scheme=decoupled does what coupled does")
    if eba and eba.start_epoch >= training.train.epochs:
        found.append(
            f"eba.start_epoch={eba.start_epoch} is not below train.epochs={training.train.epochs}: nothing will be "
            "eliminated"
        )
    return found


def _not_overridden(params: Mapping[str, Any], corpus: str) -> Iterator[tuple[str, str, str, Any]]:
    """What the corpus sets and no recipe does, so that its section's value does not win: place, section, key, value."""
    place = f"corpus.{corpus}"
    layer, of_recipes = _layers(params, corpus)[place], _keys_of_recipes(params)
    for section in SECTIONS:
        for key, value in getattr(layer, section).items():
            if key not in of_recipes[section] and params[section].get(key) not in (None, value):
                yield place, section, key, value


def _layers(params: Mapping[str, Any], corpus: str) -> dict[str, Overlay]:
    """By its place in params.yaml: the recipe of a corpus, if it names one, and the corpus itself."""
    require_defined(params, "corpus", corpus)
    definition = parse(CorpusDefinition, params["corpus"][corpus], f"corpus.{corpus}")
    named: dict[str, Overlay] = {f"corpus.{corpus}": definition}
    if definition.recipe:
        require_defined(params, "recipes", definition.recipe)
        recipe = parse(Overlay, params["recipes"][definition.recipe] or {}, f"recipes.{definition.recipe}")
        named = {f"recipes.{definition.recipe}": recipe, **named}
    for place, layer in named.items():
        for section, key in (*SWITCHES, *UNLAYERED):
            if key in getattr(layer, section):
                raise IebakerError(
                    f"params: {place}.{section}.{key} would shadow -S {section}.{key}=...; set it in the section"
                    + (f" or in variant.<name>.{section}.{key}" if (section, key) in SWITCHES else "")
                )
    return named
