"""Models by open_clip's names, hub ids and checkpoints; saved and loaded to the bit."""

import json
import logging
from copy import deepcopy
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors.torch import save_file

from iebaker.config.params import ModelParams
from iebaker.errors import IebakerError
from iebaker.model import activation, packaged
from iebaker.model.adapters import Foreign
from iebaker.model.compat import open_clip
from iebaker.model.preprocess import Preprocess
from iebaker.model.tokens import Tokenizer
from iebaker.model.towers import RetrievalModel

CONFIGS = Path(__file__).parent / "configs"
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".npz")
PACKAGED = "packaged"
LOCAL_DIRECTORY = "local-dir:"
MESSAGE = 300  # characters of another library's error; all keys of a foreign checkpoint are a page

WEIGHTS_FILE = "model.safetensors"
# of an exported folder: the name that open_clip looks for on the hub
HUB_WEIGHTS_FILE = open_clip.constants.HF_SAFE_WEIGHTS_NAME
HUB = "hf-hub:"
DESCRIPTION_FILE = "model.json"
# open_clip's own name for it: it can then load the folder as local-dir:FOLDER
CONFIG_FILE = "open_clip_config.json"

open_clip.add_model_config(CONFIGS)


def create(params: ModelParams) -> RetrievalModel:
    """The model that `params` name, its trunks locked as they say.

    `name` is one of open_clip's or of `configs/`, hf-hub:ORG/REPOSITORY, or local-dir:FOLDER. `pretrained` is a tag
    of open_clip for that name, a checkpoint file (a state dict, plain or under "state_dict", as RemoteCLIP and
    GeoRSCLIP publish it), such a file on the hub (hf-hub:ORG/REPOSITORY[/FILE]), "packaged" for the weights of the
    extra `towers`, or "" to start from random weights. OpenAI's weights and what was fine-tuned from them need a name
    ending in -quickgelu: with a tag this is checked, of a file `activation` says what can be known.

    Raises:
        IebakerError: for unknown names, weights that are missing, unreachable, or belong to another model.
        IebakerError: for packaged towers that are not installed.
    """
    schema, _ = open_clip.factory.parse_model_name(params.name)
    pretrained = _fetched(params.pretrained)
    _check_weights(params.name, pretrained, schema)
    config = _configuration(params.name)
    if params.image_size:
        config["vision_cfg"]["image_size"] = params.image_size
    preprocess = packaged.IMAGE_PREPROCESS if params.pretrained == PACKAGED else None
    caution = ""
    if pretrained and Path(pretrained).is_file():
        caution = activation.check_file(Path(pretrained), params.name, config.get("quick_gelu", False))
    clip = _build(params.name, pretrained, config, preprocess, params.image_size)
    if params.pretrained == PACKAGED:
        packaged.load_image_weights(clip.visual.trunk)
        packaged.load_text_weights(clip.text.transformer)
    folder = Path(params.name.removeprefix(LOCAL_DIRECTORY)) if schema == "local-dir" else None
    model = RetrievalModel(
        clip, _tokenizer(params.name, config, folder), _preprocess(clip, params.name), params.name, config
    )
    model.caution, model.image.orientations = caution, params.orientations
    model.lock(params.lock_image, params.lock_text, params.unlocked_image, params.unlocked_text)
    return model


def open_model(name: str, pretrained: str = "") -> RetrievalModel:
    """Any model for evaluation: a trained or exported folder, or what `create` takes.

    Raises:
        IebakerError: see `load` and `create`.
    """
    folder = Path(name).expanduser()
    if folder.is_dir() and (folder / CONFIG_FILE).is_file() and not (folder / DESCRIPTION_FILE).is_file():
        name = f"{LOCAL_DIRECTORY}{folder}"  # somebody else's
    elif folder.is_dir():
        if pretrained:
            raise IebakerError(f"{folder} brings its own weights; leave --pretrained empty")
        return load(folder)
    untouched = {"lock_image": False, "lock_text": False, "unlocked_image": 0, "unlocked_text": 0}
    return create(ModelParams(name=name, pretrained=pretrained, image_size=0, orientations=1, **untouched))


def save(model: RetrievalModel, folder: Path, description: dict[str, Any]) -> None:
    """Write `model` to `folder`: weights, configuration and preprocessing, tokenizer, and `description` as it is.

    Equal models give equal bytes: no versions, times or paths are written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # tied weights are stored twice: safetensors refuses shared memory
    weights = {name: value.detach().cpu().clone().contiguous() for name, value in model.clip.state_dict().items()}
    save_file(weights, folder / WEIGHTS_FILE)
    settings = model.preprocess
    preprocess = {
        "size": [settings.size, settings.size],
        "mean": list(settings.mean),
        "std": list(settings.std),
        "interpolation": settings.interpolation,
    }
    # open_clip names the text tower's weights otherwise unless it is told that it stands alone
    config = {**model.config, "custom_text": True}
    _write_json(folder / CONFIG_FILE, {"model_cfg": config, "preprocess_cfg": preprocess})
    _write_json(folder / DESCRIPTION_FILE, {"name": model.name, **description})
    _save_text_files(model, folder)


def load(folder: Path) -> RetrievalModel:
    """The model of a folder written by `save`: the same features to the bit, without any network.

    Raises:
        IebakerError: if a file is missing or does not fit.
    """
    for names in ((WEIGHTS_FILE, HUB_WEIGHTS_FILE), (CONFIG_FILE,), (DESCRIPTION_FILE,)):
        if not any((folder / name).is_file() for name in names):
            raise IebakerError(f"{folder}: {names[0]} is missing; this is no complete model folder")
    description = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    source = f"{LOCAL_DIRECTORY}{folder}"
    config = _configuration(source)
    clip = _build(source, "", config, None)
    tokenizer = _tokenizer(source, config, folder)
    model = RetrievalModel(clip, tokenizer, _preprocess(clip, description["name"]), description["name"], config)
    model.image.orientations = description.get("model", {}).get("orientations", 1)
    return model


def describe(folder: Path) -> dict[str, Any]:
    """What `save` was given as description, with the model's `name`; IebakerError without it."""
    if not (folder / DESCRIPTION_FILE).is_file():
        raise IebakerError(f"{folder}: {DESCRIPTION_FILE} is missing; give the folder of a training or of export-model")
    description: dict[str, Any] = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
    return description


def _fetched(pretrained: str) -> str:
    """`pretrained`, with a file on the hub downloaded into the hub's cache."""
    if not pretrained.startswith(HUB):
        return pretrained
    organisation, _, rest = pretrained.removeprefix(HUB).partition("/")
    repository, _, file = rest.partition("/")
    try:
        path: str = open_clip.pretrained.download_pretrained_from_hf(f"{organisation}/{repository}", file or None)
        return path
    except Exception as error:  # the hub client has many, all for "could not be fetched"
        raise IebakerError(f"model.pretrained={pretrained!r}: could not be fetched: {error}") from error


def _check_weights(name: str, pretrained: str, schema: str | None) -> None:
    """Refuse weights that open_clip would not find, or load with a warning into the wrong activation."""
    if not pretrained:
        return
    if schema is not None:
        raise IebakerError(f"model.pretrained={pretrained!r}: {name} brings its own weights; leave pretrained empty")
    if pretrained == PACKAGED:
        _check_packaged(name)
        return
    if Path(pretrained).suffix in CHECKPOINT_SUFFIXES or Path(pretrained).is_file():
        if not Path(pretrained).is_file():
            raise IebakerError(f"model.pretrained={pretrained!r}: no such file")
        return
    tag = open_clip.pretrained.get_pretrained_cfg(name, pretrained)
    if not tag:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise IebakerError(f"model.pretrained={pretrained!r}: neither a file nor a tag of {name} (its tags: {tags})")
    if tag.get("quick_gelu", False) and not _configuration(name).get("quick_gelu", False):
        raise IebakerError(
            f"model.name={name!r}: the weights {pretrained!r} were trained with the activation QuickGELU, this name "
            f"builds GELU and would silently give other numbers; use model.name={name + '-quickgelu'!r}"
        )


def _check_packaged(name: str) -> None:
    config = _configuration(name)
    found = config["vision_cfg"].get("timm_model_name"), config["text_cfg"].get("hf_model_name")
    if found != (packaged.IMAGE_MODEL, packaged.TEXT_MODEL):
        raise IebakerError(f"model.pretrained='packaged': {name} does not use the packaged towers; use a tag or a file")


def _configuration(name: str) -> dict[str, Any]:
    """open_clip's configuration of `name`.

    Raises:
        IebakerError: for an unknown name, or a hub or folder that gives none.
    """
    try:
        config: dict[str, Any] | None = open_clip.get_model_config(name)
    except Exception as error:  # the hub client has many, all for "could not be read"
        raise IebakerError(f"model.name={name!r}: its configuration could not be read: {error}") from error
    if config is None:
        ours = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.json")))
        raise IebakerError(f"model.name={name!r} is unknown; there: {ours}, and what open_clip.list_models() names")
    return config


def _build(
    name: str, pretrained: str, config: dict[str, Any], preprocess: dict[str, Any] | None, image_size: int = 0
) -> Foreign:
    """open_clip's model, both towers standing alone, with the weights that `pretrained` names.

    `image_size` wins over the configuration's; positions that were learnt for another are interpolated.
    """
    text = deepcopy(config["text_cfg"])
    if "hf_model_name" in text:
        text["hf_model_pretrained"] = False
        text["hf_model_name"] = str(_text_files(text["hf_model_name"], name))
    weights = None if pretrained in ("", PACKAGED) else pretrained
    # open_clip warns of random weights, which are what "" asks for
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return open_clip.create_model(
            name,
            weights,
            force_custom_text=True,
            force_preprocess_cfg=preprocess,
            force_image_size=image_size or None,
            text_cfg=text,
        )
    # a file that is no checkpoint fails in as many ways as there are files
    except (RuntimeError, OSError, ValueError, KeyError, AttributeError, TypeError, UnpicklingError) as error:
        hint = "the weights could not be fetched, are damaged or belong to another model; " if weights else ""
        first = " ".join(str(error).split())[:MESSAGE]
        raise IebakerError(f"model.name={name!r}, pretrained={pretrained!r}: {hint}{first}") from error
    finally:
        logging.disable(level)


def _text_files(symbolic: str, source: str) -> Path | str:
    """Where a Hugging Face tower's files are: in the model's folder, in the package, or a hub id."""
    folder = Path(source.removeprefix(LOCAL_DIRECTORY))
    if source.startswith(LOCAL_DIRECTORY) and (folder / "config.json").is_file():
        return folder
    return packaged.text_model_path() if symbolic == packaged.TEXT_MODEL else symbolic


def _tokenizer(name: str, config: dict[str, Any], folder: Path | None) -> Tokenizer:
    text = config["text_cfg"]
    if text.get("hf_tokenizer_name") == packaged.TEXT_MODEL and folder is None:
        path = str(packaged.text_model_path())
        return Tokenizer(open_clip.tokenizer.HFTokenizer(path, context_length=text["context_length"]))
    try:
        return Tokenizer(open_clip.get_tokenizer(name))
    except (OSError, ImportError) as error:
        raise IebakerError(f"model.name={name!r}: its tokenizer could not be loaded: {error}") from error


def _preprocess(clip: Foreign, name: str) -> Preprocess:
    settings = clip.visual.preprocess_cfg
    size = settings["size"]
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    if height != width:
        raise IebakerError(f"model.name={name!r} reads images of {height} x {width} pixels; only squares are supported")
    return Preprocess(height, tuple(settings["mean"]), tuple(settings["std"]), settings["interpolation"])


def _save_text_files(model: RetrievalModel, folder: Path) -> None:
    """What a Hugging Face text tower needs beside its weights: configuration and tokenizer."""
    if "hf_tokenizer_name" in model.config["text_cfg"]:
        model.tokenizer.wrapped([""])  # a fast tokenizer is saved with the length and padding of its last call
        model.tokenizer.wrapped.save_pretrained(folder)
    if "hf_model_name" in model.config["text_cfg"]:
        settings = model.clip.text.config.to_dict()
        # versions and paths say nothing of the model, and would change its hash
        for key in ("transformers_version", "_name_or_path"):
            settings.pop(key, None)
        _write_json(folder / "config.json", settings)


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
