"""A model, a batch, an optimizer, a precision and a card into memory by phase, time, and a verdict with its assumptions."""

from typing import NamedTuple

from mlcourse.sizing.allocator import reserved_bytes
from mlcourse.sizing.costs import Range, StepTime, step_time
from mlcourse.sizing.devices import DEVICES, Device, find_device
from mlcourse.sizing.parallel import shard
from mlcourse.sizing.task import Task, find_task

CONTEXT = Range(0.3e9, 0.5e9, 1.0e9)  # what CUDA takes before the first tensor: driver, kernels, libraries
WORKSPACE = Range(0.0, 0.1e9, 0.5e9)  # scratch memory of cuDNN and cuBLAS


class Estimate(NamedTuple):
    """What one training step needs on one card. Bytes and seconds; every assumption made is in `assumptions`."""

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
    rule_of_thumb: int
    assumptions: list[str]

    @property
    def verdict(self) -> str:
        """ "fits", "tight" (in the good case only) or "does not fit"."""
        return verdict(self.total, self.device)


class Change(NamedTuple):
    """One change of the set-up, what it needs, and its price: seconds of a step against those before."""

    words: str
    estimate: Estimate
    slowdown: float


def verdict(total: Range, device: Device) -> str:
    return "fits" if total.high <= device.memory else "tight" if total.low <= device.memory else "does not fit"


def size(
    model: str | Task,
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
    ranks: int = 1,
    zero: int = 0,
) -> Estimate:
    """What a training step of `model` needs on `gpu`, from a trace that allocates nothing.

    Args:
        model: a known name, "module:function", a function that makes a PyTorch `Task`, or the task.
        batch: examples a step, on one card.
        attention: "fused" or "naive", and `dropout`: passed to models that take them.
        checkpoint: recompute each block in the backward pass.
        lora: rank of the trained update of each linear layer; 0 trains everything.
        accumulate: the batch is computed in so many parts, whose gradients are added.
        ranks: cards that share the work, with ZeRO stage `zero` (0: data parallel; 3: FSDP).

    Raises:
        ValueError: an unknown name, a precision the card lacks, a batch that can't be divided, or a task in Flax.

    >>> estimate = size("resnet18-cifar", 128, gpu="t4", optimizer="momentum")
    >>> round(estimate.tensor_peak / 1e6), estimate.limiting_phase, estimate.verdict
    (712, 'backward', 'fits')

    Built in lesson 07.
    """
    from mlcourse.sizing.trace_torch import trace_torch

    device = find_device(gpu)
    device.rate(precision)
    if accumulate < 1 or batch % accumulate:
        raise ValueError(f"batch={batch} can't be divided into accumulate={accumulate} equal parts; take a divisor.")
    chosen = {"attention": attention, "dropout": dropout}
    task = find_task(model, **{name: value for name, value in chosen.items() if value is not None})
    if task.framework != "torch":
        raise ValueError("this task is in Flax: use mlcourse.sizing.trace_jax, which counts what JAX can say without a GPU.")
    trace = trace_torch(
        task,
        batch // accumulate,
        optimizer=optimizer,
        precision=precision,
        checkpoint=checkpoint,
        lora=lora,
        keep_gradients=accumulate > 1,
    )
    width = 2 if precision == "bf16" else 4
    phases = shard(
        trace.phases,
        ranks=ranks,
        zero=zero,
        gradient_bytes=trace.trainable * width,
        block_bytes=trace.largest_block * (4 if precision == "fp32" else 2),
    )
    sums = {phase: sum(parts.values()) for phase, parts in phases.items()}
    peak = max(sums.values())
    overhead = max(1.0, reserved_bytes(trace.events) / trace.peak)
    reserved = Range(peak, peak * overhead, peak * (1 + 1.5 * (overhead - 1)))
    kernels = trace.kernels * accumulate
    return Estimate(
        device=device,
        batch=batch,
        options={
            "optimizer": optimizer, "precision": precision, "attention": attention, "dropout": dropout,
            "checkpoint": checkpoint, "lora": lora, "accumulate": accumulate, "ranks": ranks, "zero": zero,
        },
        parameters=trace.parameters,
        trainable=trace.trainable,
        phases=phases,
        saved=trace.saved,
        tensor_peak=peak,
        limiting_phase=max(sums, key=sums.get),
        reserved=reserved,
        total=Range(*(r + c + w for r, c, w in zip(reserved, CONTEXT, WORKSPACE, strict=True))),
        flops=trace.flops * accumulate,
        forward_flops=trace.forward_flops * accumulate,
        bytes_moved=trace.bytes_moved * accumulate,
        time=step_time(kernels, device, precision),
        rule_of_thumb=slide_rule(trace.parameters, optimizer),
        assumptions=assumptions(precision, accumulate, ranks, zero, device),
    )  # fmt: skip


def slide_rule(parameters: int, optimizer: str) -> int:
    """The rule of thumb to be tested: weights, as many gradients, the optimizer's states, activations x 4, and 2 GB.

    >>> slide_rule(11_220_132, "momentum") / 1e9
    2.31416369...
    """
    states = {"sgd": 0, "momentum": 1}.get(optimizer, 2)
    return (1 + 1 + states + 4) * 4 * parameters + 2 * 10**9


def assumptions(precision: str, accumulate: int, ranks: int, zero: int, device: Device) -> list[str]:
    """What the numbers rest on, in words; every one of them can be wrong on a given machine."""
    found = [
        "traced from shapes; the second step, when the optimizer's states exist",
        "gradients are released after each step (zero_grad(set_to_none=True))"
        if accumulate == 1
        else "gradients persist between the parts of a batch; they are added up in place",
        "the optimizer's foreach implementation, PyTorch's default on a GPU",
        "attention by a fused kernel saves one number a row; dropout a mask of one byte an element",
        f"context {CONTEXT.low / 1e9:.1f} to {CONTEXT.high / 1e9:.1f} GB, up to {WORKSPACE.high / 1e9:.1f} GB of workspace",
        "reserved memory by replaying the allocator's rules; not checked on a GPU",
        "step time from kernels that are not fused, at 25 to 80 % of the card's peak; data loading not in it",
        f"{device.name}: {device.memory / 1e9:.0f} GB as sold, dense rates; {device.source}, read {device.date}",
    ]
    if precision == "fp8":
        found.append("fp8 is traced as mixed-bf16: weights and states are kept in fp32, only the rate of the products doubles")
    if precision == "mixed-fp16":
        found.append("mixed-fp16 needs loss scaling; its scaler takes no memory worth counting")
    if ranks > 1:
        scheme = "data parallel with gradient buckets" if zero == 0 else f"ZeRO stage {zero}" + (" (FSDP)" if zero == 3 else "")
        found.append(f"{ranks} ranks, {scheme}; `batch` is one card's share; time for communication not in it")
    return found


def largest_batch(model: str | Task, *, gpu: str | Device, limit: int = 1 << 20, **options) -> int:
    """The largest batch whose usual total fits on the card; 0 if not even one example does.

    Memory is close to affine in the batch, so a line through two traced sizes lands next to the answer; the answer itself and
    the batch above it are traced.

    >>> largest_batch("mlp-digits", gpu="t4", limit=64)
    64
    """
    device, totals = find_device(gpu), {}

    def total(batch: int) -> float:
        if batch not in totals:
            totals[batch] = size(model, batch, gpu=device, **options).total.middle
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


def ways_to_fit(model: str | Task, batch: int, *, gpu: str | Device = "t4", **options) -> list[Change]:
    """Changes after which it fits, the cheapest first: the least seconds a step on the same card, then larger cards.

    An empty list says that no single change and no card of the table helps.
    """
    device = find_device(gpu)
    before = size(model, batch, gpu=device, **options)
    low = "mixed-bf16" if "bf16" in device.rates else "mixed-fp16" if "fp16" in device.rates else None
    candidates: list[tuple[str, dict]] = []
    if options.get("attention") == "naive":
        candidates.append(("fused attention", {"attention": "fused"}))
    if low and options.get("precision", "fp32") == "fp32":
        candidates.append((f"{low} precision", {"precision": low}))
    if not options.get("checkpoint"):
        candidates.append(("checkpointing of each block", {"checkpoint": True}))
        if low and options.get("precision", "fp32") == "fp32":
            candidates.append((f"{low} precision and checkpointing", {"precision": low, "checkpoint": True}))
    parts = [n for n in (2, 4, 8, 16, 32, 64) if batch % n == 0 and n > options.get("accumulate", 1)]
    candidates += [(f"accumulation over {n} parts", {"accumulate": n}) for n in parts]
    found, accumulation_found = [], False
    for words, change in candidates:
        if "accumulate" in change and accumulation_found:
            continue
        try:
            after = size(model, batch, gpu=device, **options | change)
        except ValueError:  # a model without blocks has nothing to checkpoint
            continue
        if after.verdict == "fits":
            accumulation_found |= "accumulate" in change
            found.append(Change(words, after, after.time.seconds.middle / before.time.seconds.middle))
    found.sort(key=lambda change: change.slowdown)
    larger = sorted((d for d in DEVICES.values() if d.memory >= before.total.high), key=lambda d: (d.memory, d.watts))
    wanted = options.get("precision", "fp32")
    for other in larger:
        if {"mixed-bf16": "bf16", "mixed-fp16": "fp16"}.get(wanted, wanted) in other.rates:
            after = size(model, batch, gpu=other, **options)
            return [
                *found,
                Change(f"a larger card: {other.name}", after, after.time.seconds.middle / before.time.seconds.middle),
            ]
    return found
