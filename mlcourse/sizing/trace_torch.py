"""A PyTorch task into bytes per phase, FLOPs and bytes moved, from shapes alone: nothing is allocated.

One whole training step runs on the device "meta", where tensors have a shape, a type and a storage of known size but no memory.
The second step is the one that counts: the optimizer makes its states in the first.
"""

from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint as recompute

from mlcourse.errors import unknown_name
from mlcourse.sizing.ledger import Kernel, Ledger, storage_key
from mlcourse.sizing.precision import PRECISIONS, AsOnGPU
from mlcourse.sizing.task import Task

PHASES = ("load", "forward", "backward", "optimizer_step")
OPTIMIZERS = {  # name -> parameters -> optimizer; `foreach` is what PyTorch takes on a GPU
    "sgd": lambda params, foreach: torch.optim.SGD(params, lr=0.1, foreach=foreach),
    "momentum": lambda params, foreach: torch.optim.SGD(params, lr=0.1, momentum=0.9, foreach=foreach),
    "adam": lambda params, foreach: torch.optim.Adam(params, foreach=foreach),
    "adamw": lambda params, foreach: torch.optim.AdamW(params, foreach=foreach),
}


class Trace(NamedTuple):
    """One training step, counted. Bytes throughout; `phases[phase][part]` is the fullest instant of that phase.

    `saved` is what autograd keeps at the end of the forward pass, inputs included, parameters not; `forward_flops` and
    `flops` are of one batch, `kernels` the operations of a step, `events` the allocations and releases in their order.
    `largest_block` and `outside` are parameters: of the largest module in an `nn.ModuleList`, and of all that is in none.
    `copies` are the bytes of the weights' copies that autocast makes.
    """

    parameters: int
    trainable: int
    phases: dict[str, dict[str, int]]
    saved: int
    forward_flops: int
    flops: int
    kernels: list[Kernel]
    events: list[tuple[int, int]]
    largest_block: int
    outside: int
    copies: int

    @property
    def peak(self) -> int:
        """The tensor peak: the largest phase, never the sum of all parts."""
        return max(sum(parts.values()) for parts in self.phases.values())

    @property
    def limiting_phase(self) -> str:
        return max(self.phases, key=lambda phase: sum(self.phases[phase].values()))

    @property
    def bytes_moved(self) -> int:
        return sum(kernel.bytes_moved for kernel in self.kernels)


class LowRank(nn.Module):
    """A frozen linear layer plus the trainable product of two thin ones: W x + B A x (Hu et al. 2021)."""

    def __init__(self, frozen: nn.Linear, rank: int):
        super().__init__()
        self.frozen = frozen
        self.down = nn.Linear(frozen.in_features, rank, bias=False)
        self.up = nn.Linear(rank, frozen.out_features, bias=False)

    def forward(self, x):
        return self.frozen(x) + self.up(self.down(x))


def trace_torch(
    task: Task,
    batch: int,
    *,
    optimizer: str = "adamw",
    precision: str = "fp32",
    checkpoint: bool = False,
    lora: int = 0,
    lora_targets: str = "",
    keep_gradients: bool = False,
    foreach: bool = True,
    device: str = "meta",
) -> Trace:
    """One training step of `task`, counted.

    Args:
        batch: examples in a step, at least 1.
        optimizer: "sgd", "momentum", "adam" or "adamw".
        precision: "fp32"; "mixed-bf16", "mixed-fp16" (weights fp32, autocast); "bf16" (everything); "fp8", traced as
            mixed-bf16.
        checkpoint: recompute each module of the model's `nn.ModuleList` in the backward pass.
        lora: rank of the trainable update of every linear layer whose name ends with `lora_targets`; 0 trains everything.
        keep_gradients: gradients outlive the step, as accumulation and `set_to_none=False` have it.
        device: "meta" allocates nothing; "cpu" runs the same step on real memory.

    Raises:
        ValueError: an unknown optimizer or precision, a batch below 1, or checkpointing without an `nn.ModuleList`.

    >>> from mlcourse.sizing.task import find_task
    >>> trace = trace_torch(find_task("mlp-digits"), 32, optimizer="momentum")
    >>> trace.parameters, trace.phases["load"]["weights"], trace.phases["load"]["optimizer"], trace.saved
    (26122, 104488, 104488, 42500)

    Built in lesson 07.
    """
    check(batch, optimizer, precision, lora)
    ledger, low = Ledger(), {"mixed-bf16": torch.bfloat16, "mixed-fp16": torch.float16, "fp8": torch.bfloat16}.get(precision)
    with torch.device(device):
        model = task.model()
        if lora:
            add_lora(model, lora, lora_targets)
        if precision == "bf16":
            model = model.to(torch.bfloat16)
        if checkpoint:
            wrap_blocks(model, low)
        params = [p for p in model.parameters() if p.requires_grad]
        update = OPTIMIZERS[optimizer](params, foreach)
        held = {storage_key(t) for t in (*model.parameters(), *model.buffers())}
        with ledger:
            for tensor in (*model.parameters(), *model.buffers()):
                ledger.label(tensor, "weights")
            for p in params:
                p.register_post_accumulate_grad_hook(lambda p: ledger.label(p.grad, "gradients"))
            for _ in range(2):
                saved, copies = one_step(task, batch, model, update, ledger, low, held, keep_gradients)
    return Trace(
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in params),
        phases={phase: ledger.peaks[phase] for phase in PHASES},
        saved=saved,
        forward_flops=sum(kernel.flops for kernel in ledger.kernels["forward"]),
        flops=sum(kernel.flops for phase in PHASES for kernel in ledger.kernels[phase]),
        kernels=[kernel for phase in PHASES for kernel in ledger.kernels[phase]],
        events=list(ledger.events),
        largest_block=max(block_sizes(model)),
        outside=sum(p.numel() for p in model.parameters()) - sum(block_sizes(model)),
        copies=copies,
    )


def one_step(task, batch, model, update, ledger, low, held, keep_gradients) -> tuple[int, int]:
    """Runs one step under the ledger; returns the bytes saved for the backward pass, and those of autocast's copies."""
    saved: dict[int, int] = {}

    def pack(tensor):
        key = storage_key(tensor)
        if key not in held:
            if key not in saved:
                saved[key] = tensor.untyped_storage().nbytes()
            ledger.label(tensor, "saved", only="temporary")
        return tensor

    for state in update.state.values():
        for tensor in state.values():
            if isinstance(tensor, torch.Tensor):
                ledger.label(tensor, "optimizer")
    ledger.enter("load")
    inputs = task.batch(batch)
    if next(model.parameters()).dtype == torch.bfloat16:
        inputs = tuple(x.to(torch.bfloat16) if x.is_floating_point() else x for x in inputs)
    ledger.enter("forward")
    with AsOnGPU(low=low) as mode, torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = task.loss(model, *inputs)
        copies = sum(copy.untyped_storage().nbytes() for copy in mode.copies.values())
    ledger.enter("backward")
    loss.backward()
    del loss, inputs
    ledger.enter("optimizer_step")
    update.step()
    update.zero_grad(set_to_none=not keep_gradients)
    return sum(saved.values()), copies


def wrap_blocks(model: nn.Module, low: torch.dtype | None, *, on_shapes: bool = True) -> None:
    """Each module of the model's lists keeps its inputs only, and is computed again when its gradient is due."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(
            "checkpoint=True recomputes the modules of an nn.ModuleList, and this model has none. Put its blocks in one."
        )
    again = {"use_reentrant": False, "preserve_rng_state": False, "context_fn": lambda: (nullcontext(), AsOnGPU(low=low))}
    if not on_shapes:  # a real card does by itself what `AsOnGPU` imitates
        del again["context_fn"]
    for module in (module for blocks in lists for module in blocks):
        module.forward = partial(recompute, module.forward, **again)


def add_lora(model: nn.Module, rank: int, targets: str) -> None:
    """Freezes the model and gives its linear layers a trainable update of rank `rank`."""
    for p in model.parameters():
        p.requires_grad_(False)
    found = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear) and name.endswith(targets)]
    if not found:
        names = sorted({name.rpartition(".")[2] for name, m in model.named_modules() if isinstance(m, nn.Linear)})
        raise ValueError(f"no linear layer's name ends with lora_targets={targets!r}; they end with {names}.")
    for name, module in found:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, LowRank(module, rank))


def block_sizes(model: nn.Module) -> list[int]:
    """Parameters of each unit that a sharded model gathers at once: the modules of its lists, or its children."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    blocks = [block for blocks in lists for block in blocks] or list(model.children()) or [model]
    inner = {id(m) for block in blocks for m in block.modules() if m is not block}
    blocks = [block for block in blocks if id(block) not in inner]  # a list inside a listed module counts once
    return [sum(p.numel() for p in block.parameters()) for block in blocks]


def check(batch: int, optimizer: str, precision: str, lora: int) -> None:
    if batch < 1:
        raise ValueError(f"batch={batch}; a step needs at least 1 example.")
    if lora < 0:
        raise ValueError(f"lora={lora}; a rank is at least 1, and 0 trains all weights.")
    if optimizer not in OPTIMIZERS:
        raise ValueError(unknown_name("optimizer", optimizer, OPTIMIZERS))
    if precision not in PRECISIONS:
        raise ValueError(unknown_name("precision", precision, PRECISIONS))
