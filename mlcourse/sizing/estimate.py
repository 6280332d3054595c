"""A model, a batch, an optimizer, a precision and a card into memory by phase, time, and a verdict with its assumptions."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from mlcourse.sizing.allocator import reserved_bytes
from mlcourse.sizing.closed_form import Shape
from mlcourse.sizing.costs import Dataset, Range, Run, StepTime, Storage, run_cost, step_time, storage
from mlcourse.sizing.devices import DEVICES, Device, find_device
from mlcourse.sizing.parallel import shard
from mlcourse.sizing.task import Task, find_task

CONTEXT = Range(0.3e9, 0.5e9, 1.0e9)  # what CUDA takes before the first tensor: driver, kernels, libraries
WORKSPACE = Range(0.0, 0.1e9, 0.5e9)  # scratch memory of cuDNN and cuBLAS
NETWORK = Range(0.3e9, 1.0e9, 1.6e9)  # buffers of NCCL where several cards work together
BUFFERS = ("a copy of all gradients", *["two buckets of 25 MiB"] * 2, "two gathered blocks and the weights in no block")


class Estimate(NamedTuple):
    """What one training step needs on one card. Bytes and seconds; every assumption made is in `assumptions`.

    `run` is of all steps, None where `size` was not told how many; `storage` is disk and RAM.
    """

    device: Device
    batch: int
    options: dict
    parameters: int
    trainable: int
    phases: dict[str, dict[str, int]]
    saved: int
    tensor_peak: int
    limiting_phase: str
    reserved: Range
    total: Range
    flops: int
    forward_flops: int
    bytes_moved: int
    time: StepTime
    run: Run | None
    storage: Storage
    rule_of_thumb: int
    assumptions: list[str]

    @property
    def verdict(self) -> str:
        """ "fits", "tight" (in the good case only) or "does not fit"."""
        return verdict(self.total, self.device)

    @property
    def verdicts(self) -> dict[str, str]:
        """The same for every card of the table; "lacks bf16" and the like where it has no units for the precision."""
        wanted = base_precision(self.options["precision"])
        return {key: verdict(self.total, card) if wanted in card.rates else f"lacks {wanted}" for key, card in DEVICES.items()}


class Change(NamedTuple):
    """One change of the set-up, what it needs, and its price: seconds of a step against those before, and cards."""

    words: str
    estimate: Estimate
    slowdown: float


class Counted(NamedTuple):
    """What a tracer of either framework found: the fields of `Estimate` before cards and money."""

    parameters: int
    trainable: int
    phases: dict[str, dict[str, int]]
    saved: int
    forward_flops: int
    flops: int
    kernels: list[tuple[str, int, int]]
    overhead: Range  # reserved memory in units of the tensor peak
    block: int
    outside: int
    copies: int


def verdict(total: Range, device: Device) -> str:
    return "fits" if total.high <= device.memory else "tight" if total.low <= device.memory else "does not fit"


def base_precision(precision: str) -> str:
    return {"mixed-bf16": "bf16", "mixed-fp16": "fp16"}.get(precision, precision)


def size(
    model: str | Task | Shape,
    batch: int,
    *,
    gpu: str | Device = "t4",
    optimizer: str = "adamw",
    precision: str = "fp32",
    attention: str | None = None,
    dropout: float | None = None,
    checkpoint: bool = False,
    lora: int = 0,
    accumulate: int = 1,
    keep_gradients: bool = False,
    ranks: int = 1,
    zero: int = 0,
    steps: int | None = None,
    epochs: int | None = None,
    dataset: Dataset | None = None,
    price_per_hour: float = 0.0,
    utilisation: float = 0.8,
    pue: float = 1.2,
    grid: float = 0.475,
    checkpoints: int = 1,
    workers: int = 4,
) -> Estimate:
    """What a training step of `model` needs on `gpu`, from a trace that allocates nothing.

    Args:
        model: a known name, "module:function", a function that makes a PyTorch or Flax `Task`, the task; or a `Shape`, the
            sizes of a GPT that nobody has written yet.
        batch: examples a step, on one card.
        attention: "fused" or "naive", and `dropout`: passed to models that take them.
        checkpoint: recompute each block in the backward pass.
        lora: rank of the trained update of each linear layer; 0 trains everything.
        accumulate: the batch is computed in so many parts, whose gradients are added.
        keep_gradients: gradients outlive a step (`set_to_none=False`); with `accumulate` above 1 they always do.
        ranks: cards that share the work, with ZeRO stage `zero` (0: data parallel; 3: FSDP).
        steps, or epochs of a `dataset`: how long the run is, for hours, money, energy and CO2.
        price_per_hour, utilisation, pue, grid: as `run_cost` takes them.
        checkpoints, workers: kept on disk; loader processes in RAM.

    Raises:
        ValueError: an unknown name, a precision the card lacks, a batch that can't be divided, an option that a task in Flax
            can't have, epochs without a data set, or a number out of its range.

    >>> estimate = size("resnet18-cifar", 128, gpu="t4", optimizer="momentum")
    >>> round(estimate.tensor_peak / 1e6), estimate.limiting_phase, estimate.verdict, estimate.verdicts["h100"]
    (712, 'backward', 'fits', 'fits')

    Built in lesson 07.
    """
    device = find_device(gpu)
    if batch < 1:
        raise ValueError(f"batch={batch}; a step needs at least 1 example.")
    if accumulate < 1 or batch % accumulate:
        raise ValueError(f"batch={batch} can't be divided into accumulate={accumulate} equal parts; take a divisor.")
    if zero and ranks == 1:
        raise ValueError(f"zero={zero} divides the states over cards, and ranks=1 is a single one. Say how many: ranks=8.")
    chosen = {name: value for name, value in (("attention", attention), ("dropout", dropout)) if value is not None}
    options = {
        "optimizer": optimizer, "precision": precision, "attention": attention, "dropout": dropout, "checkpoint": checkpoint,
        "lora": lora, "accumulate": accumulate, "keep_gradients": keep_gradients, "ranks": ranks, "zero": zero,
    }  # fmt: skip
    task = shape_task(model, **chosen) if isinstance(model, Shape) else find_task(model, **chosen)
    count = count_torch if task.framework == "torch" else count_jax
    counted = count(
        task,
        batch // accumulate,
        optimizer=optimizer,
        precision=precision,
        checkpoint=checkpoint,
        lora=lora,
        keep_gradients=keep_gradients or accumulate > 1,
    )
    device.rate(precision)
    number_of_steps = steps_of(steps, epochs, dataset, batch * ranks)
    width = 2 if precision == "bf16" else 4
    gathered = 4 if precision == "fp32" else 2
    phases = shard(
        counted.phases,
        ranks=ranks,
        zero=zero,
        gradient_bytes=counted.trainable * width,
        block_bytes=counted.block * gathered,
        outside_bytes=counted.outside * gathered,
        copies=counted.copies,
    )
    sums = {phase: sum(parts.values()) for phase, parts in phases.items()}
    peak = max(sums.values())
    reserved = Range(*(peak * factor for factor in counted.overhead))
    extras = (CONTEXT, WORKSPACE, NETWORK) if ranks > 1 else (CONTEXT, WORKSPACE)
    time = step_time(counted.kernels * accumulate, device, precision)
    needs = storage(
        **(dataset or Dataset(0, 0))._asdict(),
        weights=counted.parameters * width,
        optimizer=counted.phases["load"]["optimizer"],
        checkpoints=checkpoints,
        workers=workers,
    )
    price = {"price_per_hour": price_per_hour, "utilisation": utilisation, "pue": pue, "grid": grid}
    return Estimate(
        device=device,
        batch=batch,
        options=options,
        parameters=counted.parameters,
        trainable=counted.trainable,
        phases=phases,
        saved=counted.saved,
        tensor_peak=peak,
        limiting_phase=max(sums, key=sums.get),
        reserved=reserved,
        total=Range(*map(sum, zip(reserved, *extras, strict=True))),
        flops=counted.flops * accumulate,
        forward_flops=counted.forward_flops * accumulate,
        bytes_moved=accumulate * sum(kernel[2] for kernel in counted.kernels),
        time=time,
        run=None if number_of_steps is None else run_cost(time.seconds, number_of_steps, device, devices=ranks, **price),
        storage=needs,
        rule_of_thumb=slide_rule(counted.parameters, optimizer),
        assumptions=assumptions(task.framework, options, device)
        + run_assumptions(number_of_steps, price, dataset, checkpoints, workers),
    )


def count_torch(task: Task, batch: int, **options) -> Counted:
    from mlcourse.sizing.trace_torch import trace_torch

    trace = trace_torch(task, batch, **options)
    slack = max(1.0, reserved_bytes(trace.events) / trace.peak)
    return Counted(
        parameters=trace.parameters,
        trainable=trace.trainable,
        phases=trace.phases,
        saved=trace.saved,
        forward_flops=trace.forward_flops,
        flops=trace.flops,
        kernels=trace.kernels,
        overhead=Range(1.0, slack, 1 + 1.5 * (slack - 1)),
        block=trace.largest_block,
        outside=trace.outside,
        copies=trace.copies,
    )


def count_jax(task: Task, batch: int, *, checkpoint: bool, lora: int, keep_gradients: bool, **options) -> Counted:
    if checkpoint or lora:
        raise ValueError(
            "checkpoint and lora change a PyTorch model from outside; a Flax one says so itself: wrap its blocks in nnx.remat, "
            "or its linear layers in nnx.LoRA, and size that."
        )
    from mlcourse.sizing.trace_jax import trace_jax

    trace = trace_jax(task, batch, **options)
    peak = max(sum(parts.values()) for parts in trace.phases.values())
    phases = {phase: dict(parts) for phase, parts in trace.phases.items()}
    if keep_gradients:
        for parts in phases.values():
            parts["gradients"] = trace.gradients
    slack = max(1.0, trace.unfused_peak / peak)
    return Counted(
        parameters=trace.parameters,
        trainable=trace.parameters,
        phases=phases,
        saved=phases["forward"]["saved"],
        forward_flops=trace.forward_flops,
        flops=trace.flops,
        kernels=trace.kernels,
        overhead=Range(1.0, (1 + slack) / 2, slack),
        block=trace.parameters,  # the whole model: a Flax step gathers what it wants
        outside=0,
        copies=0,
    )


def shape_task(shape: Shape, **options) -> Task:
    """A GPT of this shape, as a task."""
    from mlcourse.sizing.models_torch import gpt

    return gpt(**shape._asdict(), **options)


def steps_of(steps: int | None, epochs: int | None, dataset: Dataset | None, examples_per_step: int) -> int | None:
    if epochs is None:
        return steps
    if steps is not None or dataset is None or epochs < 1:
        raise ValueError(
            f"epochs={epochs}, steps={steps}, dataset={dataset}; say steps, or at least 1 epoch and the data set it is of."
        )
    return epochs * -(-dataset.examples // examples_per_step)


def slide_rule(parameters: int, optimizer: str) -> int:
    """The rule of thumb to be tested: weights, as many gradients, the optimizer's states, activations x 4, and 2 GB.

    >>> slide_rule(11_220_132, "momentum") / 1e9
    2.31416369...
    """
    states = {"sgd": 0, "momentum": 1}.get(optimizer, 2)
    return (1 + 1 + states + 4) * 4 * parameters + 2 * 10**9


def assumptions(framework: str, options: dict, device: Device) -> list[str]:
    """What the numbers rest on, in words; every one of them can be wrong on a given machine."""
    precision, ranks, zero = options["precision"], options["ranks"], options["zero"]
    found = ["traced from shapes; the second step, when the optimizer's states exist; the batch itself is on the card"]
    if framework == "torch":
        kept = "persist from step to step" if options["keep_gradients"] else "are released after each step (set_to_none=True)"
        found += [
            f"gradients {kept}"
            if options["accumulate"] == 1
            else "gradients persist between the parts of a batch; they are added up in place",
            "the optimizer's foreach implementation, PyTorch's default on a GPU; no torch.compile",
            "attention by a fused kernel saves one number a row; dropout a mask of one byte an element",
            "reserved memory by replaying the allocator's rules; not checked on a GPU",
            "step time from kernels that are not fused, at 25 to 80 % of the card's peak; data loading not in it",
        ]
    else:
        found += [
            "old and new weights share their memory (donated arguments)",
            "XLA computes elementwise operations where they are used (low) or writes every result (high); usual is the middle",
            "JAX takes three quarters of the card at the start unless XLA_PYTHON_CLIENT_PREALLOCATE=false; not counted",
            "step time from that fused program, at 25 to 80 % of the card's peak; data loading not in it",
        ]
        if options["accumulate"] > 1:
            found.append("the gradients of the parts of a batch are added up in arrays that stay")
        if precision != "fp32":
            found.append("low precision by casting parameters and inputs, as jmp does; the model's own dtype stays as it is")
    found += [
        f"context {CONTEXT.low / 1e9:.1f} to {CONTEXT.high / 1e9:.1f} GB, up to {WORKSPACE.high / 1e9:.1f} GB of workspace",
        f"{device.name}: {device.memory / 1e9:.0f} GB as sold, dense rates; {device.source}, read {device.date}",
    ]
    if precision == "fp32":
        found.append("fp32 at the rate of fp32 units; on cards since the A100, TF32 products would be faster")
    if precision == "fp8":
        found.append("fp8 is traced as mixed-bf16: weights and states are kept in fp32, only the rate of the products doubles")
    if precision == "mixed-fp16":
        found.append("mixed-fp16 needs loss scaling; its scaler takes no memory worth counting")
    if options["checkpoint"]:
        found.append("checkpointing of each module of an nn.ModuleList, computed again once in the backward pass")
    if options["lora"]:
        found.append(f"LoRA of rank {options['lora']} on every linear layer; all other weights are frozen")
    if ranks > 1:
        scheme = "data parallel with gradient buckets" if zero == 0 else f"ZeRO stage {zero}" + (" (FSDP)" if zero == 3 else "")
        found += [
            f"{ranks} ranks, {scheme}; `batch` is one card's share; time for communication not in it",
            f"communication: {BUFFERS[zero]}, and {NETWORK.low / 1e9:.1f} to {NETWORK.high / 1e9:.1f} GB for its library",
        ]
    return found


def run_assumptions(steps: int | None, price: dict, dataset: Dataset | None, checkpoints: int, workers: int) -> list[str]:
    found = [f"RAM: 0.5 GB for the program, 0.3 GB for each of {workers} loader processes; "
             + ("no data set named" if dataset is None else f"the data set in memory as {dataset.stored_as}"),
             f"disk: {checkpoints} checkpoint(s) of weights and states, 6 GB of packages"]  # fmt: skip
    if steps is not None:
        found.append(
            f"a run of {steps:,} steps without interruption; {price['price_per_hour']:g} an hour of a card; "
            f"{price['utilisation']:.0%} of the board's power, times {price['pue']:g} for the building, "
            f"{price['grid']:g} kg CO2 a kWh"
        )
    return found


def largest_batch(model: str | Task | Shape, *, gpu: str | Device, limit: int = 1 << 20, **options) -> int:
    """The largest batch whose verdict is "fits"; 0 if not even one example does.

    Memory is close to affine in the batch, so a line through two traced sizes lands next to the answer; the answer itself and
    the batch above it are traced.

    >>> largest_batch("mlp-digits", gpu="t4", limit=64)
    64
    """
    device, totals = find_device(gpu), {}

    def total(batch: int) -> float:
        if batch not in totals:
            totals[batch] = size(model, batch, gpu=device, **options).total.high
        return totals[batch]

    if total(1) > device.memory:
        return 0
    low, high = 1, min(8, limit)
    while high < limit and total(high) <= device.memory:
        low, high = high, min(8 * high, limit)
    if total(high) <= device.memory:
        return high
    while high - low > 1:
        guess = low + int((device.memory - total(low)) / (total(high) - total(low)) * (high - low))
        for batch in (guess, guess + 1):
            if low < batch < high:
                low, high = (batch, high) if total(batch) <= device.memory else (low, batch)
        if high - low > 1 and total(low + 1) > device.memory:
            break
    return low


def ways_to_fit(model: str | Task | Shape, batch: int, *, gpu: str | Device = "t4", **options) -> list[Change]:
    """Changes after which it fits, the cheapest first: by seconds a step on the same card; then more cards, then a larger one.

    An empty list says that no single change and no card of the table helps.
    """
    device = find_device(gpu)
    before = size(model, batch, gpu=device, **options)
    low = "mixed-bf16" if "bf16" in device.rates else "mixed-fp16" if "fp16" in device.rates else None
    lower = {"precision": low} if low and options.get("precision", "fp32") == "fp32" else {}
    candidates: list[tuple[str, dict]] = []
    if options.get("attention") == "naive":
        candidates.append(("fused attention", {"attention": "fused"}))
    if lower:
        candidates.append((f"{low} precision", lower))
    if not options.get("checkpoint"):
        candidates.append(("checkpointing of each block", {"checkpoint": True}))
        if lower:
            candidates.append((f"{low} precision and checkpointing", lower | {"checkpoint": True}))
    parts = [n for n in (2, 4, 8, 16, 32, 64) if batch % n == 0 and n > options.get("accumulate", 1)]
    found = list(filter(None, (attempt(words, model, batch, before, options | change) for words, change in candidates)))
    found += first(attempt(f"accumulation over {n} parts", model, batch, before, options | {"accumulate": n}) for n in parts)
    found.sort(key=lambda change: change.slowdown)
    if options.get("ranks", 1) == 1:
        found += first(
            attempt(f"FSDP over {n} such cards", model, batch, before, options | {"ranks": n, "zero": 3})
            for n in (2, 4, 8, 16, 32, 64)
        )
    wanted = base_precision(options.get("precision", "fp32"))
    larger = [d for d in DEVICES.values() if before.total.high <= d.memory and wanted in d.rates]
    for other in sorted(larger, key=lambda d: (d.memory, d.watts))[:1]:
        found += first([attempt(f"a larger card: {other.name}", model, batch, before, options, other)])
    return found


def attempt(words: str, model, batch: int, before: Estimate, options: dict, device: Device | None = None) -> Change | None:
    """The change if it can be made and fits."""
    try:
        after = size(model, batch, gpu=device or before.device, **options)
    except ValueError:  # a model without blocks has nothing to checkpoint
        return None
    slowdown = after.time.seconds.middle / before.time.seconds.middle
    return Change(words, after, slowdown) if after.verdict == "fits" else None


def first(changes: Iterable[Change | None]) -> list[Change]:
    """The first that can be made, in a list; those after it are not tried."""
    return list(itertools.islice(filter(None, changes), 1))
