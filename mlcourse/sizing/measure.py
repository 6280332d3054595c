"""The same training steps on a real card into a table of predicted and measured memory: `python -m mlcourse.sizing.measure`.

It prints one row a setting, with the card and the date, as a JSON line, and adds it to the file named on the command line:
`python -m mlcourse.sizing.measure benchmarks/sizing_cards.jsonl` is the file that a test holds the predictions against, within
10 %. A setting too large for the card is left out. Without a CUDA device it says so and ends with status 1.
"""

import contextlib
import datetime
import gc
import json
import sys
import time

import torch

from mlcourse.sizing.allocator import reserved_bytes
from mlcourse.sizing.task import find_task
from mlcourse.sizing.trace_torch import OPTIMIZERS, trace_torch, wrap_blocks

SETTINGS = (  # model, options of the model, batch, options of the step
    ("resnet18-cifar", {}, 128, {"optimizer": "momentum"}),
    ("resnet18-cifar", {}, 512, {"optimizer": "momentum"}),
    ("resnet18-cifar", {}, 512, {"optimizer": "momentum", "precision": "mixed-bf16"}),
    ("gpt-char", {}, 64, {"optimizer": "adamw"}),
    ("gpt-char", {}, 64, {"optimizer": "adamw", "checkpoint": True}),
    ("gpt-char", {"dropout": 0.1}, 64, {"optimizer": "adamw", "precision": "mixed-bf16"}),
    ("gpt2", {}, 4, {"optimizer": "adamw"}),
    ("gpt2", {}, 4, {"optimizer": "adamw", "precision": "mixed-bf16"}),
    ("gpt2", {}, 4, {"optimizer": "adamw", "precision": "bf16", "checkpoint": True}),
)


def compare(model: str, model_options: dict, batch: int, options: dict) -> dict:
    """One setting, traced on shapes and run on the card: bytes predicted and measured, and milliseconds of a step."""
    task = find_task(model, **model_options)
    trace = trace_torch(task, batch, **options)
    gc.collect()
    torch.cuda.empty_cache()
    milliseconds = run_steps(task, batch, **options)
    free, total = torch.cuda.mem_get_info()
    return {
        "model": model, **model_options, "batch": batch, **options,
        "predicted_peak": trace.peak, "measured_peak": torch.cuda.max_memory_allocated(),
        "predicted_reserved": reserved_bytes(trace.events), "measured_reserved": torch.cuda.max_memory_reserved(),
        "used_on_card": total - free, "milliseconds": milliseconds,
        "card": torch.cuda.get_device_name(), "torch": torch.__version__, "date": datetime.date.today().isoformat(),
    }  # fmt: skip


def run_steps(task, batch, *, optimizer, precision="fp32", checkpoint=False, steps=5, device="cuda") -> float:
    """Trains `steps` steps on the card, the first of them to make the optimizer's states; returns milliseconds of the last."""
    on_card = device == "cuda"  # "cpu" runs the same lines where there is no card: for a test
    low = {"mixed-bf16": torch.bfloat16, "mixed-fp16": torch.float16}.get(precision)
    with torch.device(device):
        network = task.model()
        network = network.to(torch.bfloat16) if precision == "bf16" else network
        if checkpoint:
            wrap_blocks(network, low, on_shapes=False)  # autocast is switched on again by the checkpoint itself
        update = OPTIMIZERS[optimizer](list(network.parameters()), True)
    for index in range(steps):
        if on_card:
            torch.cuda.synchronize()
            if index == 1:
                torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        with torch.device(device):
            inputs = task.batch(batch)
        if precision == "bf16":
            inputs = tuple(x.to(torch.bfloat16) if x.is_floating_point() else x for x in inputs)
        with torch.autocast(device, low) if low else contextlib.nullcontext():
            loss = task.loss(network, *inputs)
        loss.backward()
        del loss, inputs
        update.step()
        update.zero_grad()
    if on_card:
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start)


def main(argv: list[str]) -> int:
    """Measures every setting that fits on the card, each written as soon as it is known; status 1 where there is no card."""
    if not torch.cuda.is_available():
        print("there is no CUDA device here, so nothing was measured; start this on a machine with a card.", file=sys.stderr)
        return 1
    measured = 0
    for setting in SETTINGS:
        try:
            row = json.dumps(compare(*setting))
        except torch.OutOfMemoryError:
            print(f"{setting} does not fit on this card; it was left out.", file=sys.stderr)
            continue
        print(row)
        measured += 1
        if argv:
            with open(argv[0], "a", encoding="utf-8") as file:
                file.write(row + "\n")
    return 0 if measured else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
