"""Which models and weights open_clip knows, read from its files: importing it imports torch, which takes seconds."""

import ast
import importlib.util
import json
from functools import cache
from pathlib import Path

OURS = Path(__file__).parents[1] / "model/configs"
QUICK_GELU = "quick_gelu"
QUICK_NAME = "-quickgelu"  # of a model that builds the activation QuickGELU


@cache
def model_configs() -> dict[str, Path]:
    """The configuration file of each model, by its name; none of open_clip's where it is not installed."""
    folders = [folder / "model_configs" for folder in [_open_clip()] if folder]
    return {path.stem: path for folder in (*folders, OURS) for path in sorted(folder.glob("*.json"))}


@cache
def tags_of_models() -> dict[str, dict[str, bool]]:
    """Per model the tags of its weights, and whether they were trained with QuickGELU; empty if that cannot be read."""
    folder = _open_clip()
    try:
        body = ast.parse((folder / "pretrained.py").read_text(encoding="utf-8")).body if folder else []
    except (OSError, SyntaxError):
        return {}
    values = {
        node.targets[0].id: node.value
        for node in body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    table = values.get("_PRETRAINED")
    found: dict[str, dict[str, bool]] = {}
    if isinstance(table, ast.Dict):
        for key, value in zip(table.keys, table.values, strict=True):
            listed = values.get(value.id) if isinstance(value, ast.Name) else value
            if isinstance(key, ast.Constant) and isinstance(listed, ast.Call):
                found[str(key.value)] = {tag.arg: _is_quick(tag.value) for tag in listed.keywords if tag.arg}
    for name, tags in list(found.items()):
        if quick := {tag: True for tag, is_quick in tags.items() if is_quick}:
            found[name + QUICK_NAME] = quick
    return found


def is_quick(name: str) -> bool:
    """Whether a model of `model_configs` builds QuickGELU."""
    return bool(json.loads(model_configs()[name].read_text(encoding="utf-8")).get(QUICK_GELU, False))


def _is_quick(weights: ast.expr) -> bool:
    keywords = weights.keywords if isinstance(weights, ast.Call) else []
    return any(
        word.arg == QUICK_GELU and isinstance(word.value, ast.Constant) and bool(word.value.value) for word in keywords
    )


def _open_clip() -> Path | None:
    """Where the package lies, without importing it."""
    spec = importlib.util.find_spec("open_clip")
    return Path(spec.origin).parent if spec and spec.origin else None
