"""The activation that takes the place of open_clip's QuickGELU."""

import json

import torch
from test_model_factory import TINY

from iebaker.bench import step
from iebaker.model.compat import open_clip
from iebaker.model.quick_gelu import QuickGELU

PUBLISHED = open_clip.transformer.QuickGELU


def kept(module: torch.nn.Module, values: torch.Tensor) -> int:
    """Tensors of the size of `values` that a layer on the module's output and the module keep for the gradient."""
    found = {}

    def keep(tensor):
        found[tensor.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        (module(values) @ torch.ones(len(values), 1, requires_grad=True)).sum()
    return sum(tensor.shape == values.shape for tensor in found.values())


def test_values_and_gradients_are_those_of_open_clip_with_one_tensor_less():
    values = torch.linspace(-30, 30, 64 * 64, dtype=torch.float64).reshape(64, 64)
    results = []
    for activation in (QuickGELU(), PUBLISHED()):
        inputs = values.clone().requires_grad_()
        output = activation(inputs)
        results.append((output, *torch.autograd.grad((output**2).sum(), inputs)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    inputs = torch.randn(64, 64, requires_grad=True)
    assert (kept(QuickGELU(), inputs), kept(PUBLISHED(), inputs)) == (2, 3)


def test_models_use_it_and_the_published_formulation_that_is_measured_does_not(monkeypatch, tmp_path):
    (tmp_path / "tiny-active.json").write_text(json.dumps(TINY | {"quick_gelu": True}))
    open_clip.add_model_config(tmp_path)
    built = []
    create = step.factory.create
    monkeypatch.setattr(step.factory, "create", lambda params: built.append(create(params)) or built[-1])
    step.works(step.published_config(name="tiny-active"), 2, "plain", "naive")
    kinds = [{type(part) for part in model.modules()} & {QuickGELU, PUBLISHED} for model in built]
    assert kinds == [{QuickGELU}, {PUBLISHED}]
