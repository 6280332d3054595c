"""Traced bytes beside two trackers that PyTorch brings along: MemTracker for the peak, autograd's hooks for what is saved.

Each setting is one case. The marked ones take seconds each and run with `make test-sizing`; a few of each kind run always.
"""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mlcourse.sizing import find_task
from mlcourse.sizing import precision as precision_module
from mlcourse.sizing.models_torch import gpt2, gpt_char, mlp
from mlcourse.sizing.trace_torch import OPTIMIZERS, add_lora, trace_torch, wrap_blocks

tracker = pytest.importorskip("torch.distributed._tools.mem_tracker")

KINDS = [(attention, dropout) for attention in ("fused", "naive") for dropout in (0.0, 0.1)]
OPTIONS = ({}, {"checkpoint": True}, {"lora": 8})


def case(name, task, batch, options, *, always):
    words = " ".join(str(value) if isinstance(value, str) else key for key, value in options.items())
    return pytest.param(task, batch, options, id=f"{name} {batch} {words}", marks=[] if always else [pytest.mark.slow])


CASES = (
    [
        case(name, task, batch, {"precision": kind, "optimizer": "momentum"}, always=batch != 512)
        for kind in ("fp32", "mixed-bf16", "bf16")
        for name, task, batches in (
            ("mlp", mlp((64, 128, 128, 10)), (32, 512)),
            ("resnet18-cifar", find_task("resnet18-cifar"), (1, 32, 128, 512)),
        )
        for batch in batches
    ]
    + [
        case(name, task, batch, {"precision": kind, "optimizer": "momentum"} | options, always=batch < 128)
        for kind in ("fp32", "mixed-bf16", "bf16")
        for name, task, batch, options in (
            ("mlp", mlp((64, 128, 128, 10)), 32, {"lora": 8}),
            ("resnet18-cifar", find_task("resnet18-cifar"), 1, {"checkpoint": True}),
            ("resnet18-cifar", find_task("resnet18-cifar"), 512, {"checkpoint": True}),
            ("resnet18-cifar", find_task("resnet18-cifar"), 32, {"lora": 8}),
        )
    ]
    + [
        case(
            f"{name} {attention} dropout {dropout}",
            make(attention, dropout),
            batch,
            {"precision": kind} | options,
            always=name == "gpt-char"
            and (kind == "fp32") == (attention == "fused")
            and dropout == 0.1 * (kind == "mixed-bf16"),
        )
        for kind in ("fp32", "mixed-bf16", "bf16")
        for name, make, batches in (("gpt-char", gpt_char, (16,)), ("gpt2", gpt2, (4, 16)))
        for batch in batches
        for attention, dropout in KINDS
        for options in OPTIONS
    ]
)


def flash_attention(q, k, v, dropout_p=0.0, is_causal=False, scale=None):
    """The kernel of a card, which a CPU would replace by another one; on fake tensors it only makes shapes."""
    return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, dropout_p, is_causal, scale=scale)[0]


def no_hook(hook):
    return SimpleNamespace(remove=lambda: None)


def tracked(task, batch, *, optimizer="adamw", precision="fp32", checkpoint=False, lora=0):
    """(saved bytes, peak bytes) of the second step, counted by PyTorch, on tensors of the CPU without memory."""
    low = torch.bfloat16 if precision == "mixed-bf16" else None
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in held:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    with FakeTensorMode():
        torch.set_default_dtype(dtype)
        try:
            model = task.model()
            if lora:
                add_lora(model, lora, "")
        finally:
            torch.set_default_dtype(torch.float32)
        if checkpoint:
            wrap_blocks(model, low)
        for parameter in model.parameters():
            if not parameter.requires_grad:  # MemTracker hooks all of them, and a frozen one refuses
                parameter.register_hook = parameter.register_post_accumulate_grad_hook = no_hook
        held = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
        update = OPTIMIZERS[optimizer]([p for p in model.parameters() if p.requires_grad], True)
        memory = tracker.MemTracker()
        memory.track_external(model, update)
        with memory:
            for _ in range(2):
                saved.clear()
                memory.reset_mod_stats()
                inputs = [x.to(dtype) if x.is_floating_point() else x for x in task.batch(batch)]
                with precision_module.AsOnGPU(low=low), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
                    loss = task.loss(model, *inputs)
                loss.backward()
                del loss, inputs
                update.step()
                update.zero_grad()
    return sum(saved.values()), next(iter(memory.get_tracker_snapshot("peak").values()))["Total"]


@pytest.mark.parametrize("task, batch, options", CASES)
def test_saved_activations_and_the_peak_are_what_pytorch_itself_counts(task, batch, options, monkeypatch):
    monkeypatch.setattr(precision_module, "gpu_attention", flash_attention)
    saved, peak = tracked(task, batch, **options)
    monkeypatch.undo()
    trace = trace_torch(task, batch, **options)
    # In pure bf16 a card keeps the statistics of batch norm in fp32, a CPU in bf16: 0.8 % of what one image saves.
    assert trace.saved == pytest.approx(saved, rel=0.01)
    assert trace.peak == pytest.approx(peak, rel=0.002)


REAL = [
    pytest.param(mlp((64, 128, 128, 10)), 32, "fp32", id="mlp fp32"),
    pytest.param(mlp((64, 128, 128, 10)), 32, "mixed-bf16", id="mlp mixed"),
    pytest.param(find_task("resnet18-cifar"), 4, "fp32", id="resnet fp32"),
    pytest.param(find_task("resnet18-cifar"), 4, "mixed-bf16", id="resnet mixed"),
    pytest.param(gpt_char(), 2, "fp32", id="gpt fp32"),
]


@pytest.mark.parametrize("task, batch, precision", REAL)
def test_what_autograd_keeps_of_a_real_step_is_what_was_traced(task, batch, precision):
    # Nothing of ours but the model: real memory, PyTorch's own autocast, its hooks. (Where the CPU's lists of autocast differ
    # from the card's, in layer norm and softmax, there is nothing real to compare with: hence no GPT in mixed precision.)
    model, saved = task.model(), {}
    held = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept = []

    def pack(tensor):
        kept.append(tensor)  # so that no later tensor gets the address of an earlier one
        if tensor.untyped_storage()._cdata not in held:
            saved[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed-bf16"):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            task.loss(model, *task.batch(batch))
    assert trace_torch(task, batch, precision=precision).saved == pytest.approx(sum(saved.values()), rel=0.01)
