"""params.yaml as a whole: what it selects is defined, and one training is resolved from its layers.

Sections < `settings.<corpus>` < `overrides.<variant>`; what a section may hold is in params.py.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, NonNegativeInt

from iebaker.params import ParameterError, Section, SimilarityParams, TrainingConfig, parse

NAME = r"^\w[\w.-]*$"  # of what becomes a folder


def _distinct(values: list[Any]) -> list[Any]:
    if repeated := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"{repeated[0]!r} is there twice; name each once")
    return values


Name = Annotated[str, Field(pattern=NAME)]
Names = Annotated[list[Name], Field(min_length=1), AfterValidator(_distinct)]
Overlay = dict[str, dict[str, Any]]


class Declarations(Section):
    """params.yaml as a whole: selections and definitions; each section is looked at by the stage that reads it."""

    benchmarks: Names
    corpora: Names
    variants: Names
    seeds: Annotated[list[NonNegativeInt], Field(min_length=1), AfterValidator(_distinct)]
    members: dict[Name, Names]
    overrides: dict[Name, Overlay]
    settings: dict[Name, Overlay]
    data: dict[Name, dict[str, Any]]
    synthetic: dict[str, Any]
    model: dict[str, Any]
    train: dict[str, Any]
    eba: dict[str, Any]
    keywords: dict[str, Any]
    ker: dict[str, Any]
    similarity: dict[str, Any]
    sar: dict[str, Any]


def check(params: Any) -> dict[str, Any]:
    """params.yaml as plain data, if it declares what it selects.

    Raises:
        ParameterError: naming an unknown section, an empty or repeated selection, or a name that is not defined.
    """
    declared = parse(Declarations, params, "")
    selected = (("benchmarks", "data"), ("corpora", "members"), ("variants", "overrides"))
    for selection, definitions in selected:
        for name in getattr(declared, selection):
            require_defined(params, definitions, name)
    for corpus in declared.corpora:
        if absent := sorted(set(declared.members[corpus]) - set(declared.benchmarks)):
            raise ParameterError(f"params: {absent} of members.{corpus} not in benchmarks; add or drop them")
    return params


def require_defined(params: Mapping[str, Any], definitions: str, name: str) -> None:
    """Raise ParameterError unless `definitions`, such as members, has an entry of that name."""
    if name not in params.get(definitions, {}):
        known = ", ".join(params.get(definitions, {})) or "none"
        raise ParameterError(f"params: {definitions}.{name} is not defined (there: {known}); add it to params.yaml")


def merge(base: Mapping[str, Any], *layers: Mapping[str, Any] | None) -> dict[str, Any]:
    """Overlay nested mappings, later layers winning key by key; lists and scalars are replaced whole."""
    result = dict(base)
    for layer in layers:
        for key, value in (layer or {}).items():
            nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merge(result[key], value) if nested else value
    return result


RESOLVED_SECTIONS = ("model", "train", "eba", "ker", "similarity")
# what users switch on the command line must not be shadowed by the settings of a corpus
SWITCHES = (("eba", "scheme"), ("ker", "enabled"))


def resolve(params: Mapping[str, Any], corpus: str, variant: str) -> TrainingConfig:
    """One training's parameters: defaults < `settings.<corpus>` < `overrides.<variant>`.

    Raises:
        ParameterError: for unknown names, misspelt keys, impossible values, or a switch inside `settings`.
    """
    require_defined(params, "members", corpus)
    require_defined(params, "overrides", variant)
    settings = params.get("settings", {}).get(corpus) or {}
    for section, key in SWITCHES:
        if key in (settings.get(section) or {}):
            raise ParameterError(
                f"params: settings.{corpus}.{section}.{key} would shadow -S {section}.{key}=...; "
                "set it in the section or in overrides"
            )
    base = {section: params.get(section, {}) for section in RESOLVED_SECTIONS}
    merged = merge(base, settings, params["overrides"][variant])
    if own := {"corpus", "variant"} & set(merged):
        raise ParameterError(
            f"params: {corpus}/{variant}.{min(own)}: is no section; drop it from settings or overrides"
        )
    return parse(TrainingConfig, {"corpus": corpus, "variant": variant, **merged}, f"{corpus}/{variant}")


def similarity_of(params: Mapping[str, Any], corpus: str, variant: str) -> SimilarityParams:
    """The `similarity` section of one variant, with the fusion weights that its evaluation uses."""
    return resolve(params, corpus, variant).similarity
