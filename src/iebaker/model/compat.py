"""open_clip and torchvision, importable also beside a torchvision that was built for another torch.

Import both from here only: `from iebaker.model.compat import open_clip, torchvision`. A torchvision linked to CUDA
fails to import beside a CPU build of torch, because its compiled operators do not load, and open_clip and timm import
it. Nothing here uses those operators, so it is enough to declare them.
"""

import importlib
import sys
from typing import Any

import torch

MISSING_OPERATOR = "operator torchvision::nms does not exist"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
# a library is deregistered when it is collected
_libraries: list[Any] = []


def import_torchvision() -> Any:
    """torchvision, with its missing operators declared where its compiled part does not load."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if MISSING_OPERATOR not in str(error):
            raise
    # only now: declaring them where the real operators load aborts the process
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]  # torch does not type it
    for schema in SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]  # nor this
    _libraries.append(library)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    return importlib.import_module("torchvision")


def operators_declared() -> bool:
    """Whether torchvision's compiled part did not load, so that its operators had to be declared."""
    return bool(_libraries)


torchvision = import_torchvision()
importlib.import_module("torchvision.transforms.v2")
open_clip = importlib.import_module("open_clip")
