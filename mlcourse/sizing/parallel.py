"""The memory of one card into the memory of one card among many: data parallel, and the three stages of ZeRO / FSDP.

Data parallel repeats everything. ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054) lets each of N cards keep one part in N
of the optimizer states (stage 1), of the gradients too (stage 2), and of the weights too (stage 3, which is PyTorch's FSDP).
Activations are never divided: each card has its own part of the batch.
"""

BUCKET = 25 * 2**20  # bytes; DDP's bucket, and the flat buffer that stages 1 and 2 reduce


def shard(
    phases: dict[str, dict[str, int]],
    *,
    ranks: int,
    zero: int,
    gradient_bytes: int,
    block_bytes: int,
    outside_bytes: int = 0,
    copies: int = 0,
) -> dict[str, dict[str, int]]:
    """The phases with weights, gradients and optimizer states divided, and a part "communication" added.

    The temporary arrays of the optimizer's step are as large as what it updates, and divided with it.

    Args:
        ranks: cards, at least 1. With 1 nothing changes.
        zero: 0 is data parallel, 3 is FSDP.
        gradient_bytes: of the whole model; data parallel copies them into buckets.
        block_bytes: of the largest unit that stage 3 gathers; two are there at once, one in use and one on its way.
        outside_bytes: of the weights in no such unit, which stage 3 gathers for the whole of the two passes.
        copies: of the weights' copies in low precision; with stage 3 the gathered units are these copies.

    Raises:
        ValueError: `zero` is not 0, 1, 2 or 3, or `ranks` is below 1.

    >>> whole = {"load": {"weights": 80, "gradients": 0, "optimizer": 160}}
    >>> shard(whole, ranks=8, zero=1, gradient_bytes=80, block_bytes=10)["load"]
    {'weights': 80, 'gradients': 0, 'optimizer': 20, 'communication': 0}

    Built in lesson 07.
    """
    if zero not in (0, 1, 2, 3) or ranks < 1:
        raise ValueError(f"zero={zero}, ranks={ranks}; stages are 0 (data parallel), 1, 2 and 3, and ranks start at 1.")
    out = {}
    for phase, parts in phases.items():
        divided = {
            "optimizer": zero >= 1,
            "temporary": zero >= 1 and phase == "optimizer_step",
            "gradients": zero >= 2,
            "weights": zero >= 3,
        }
        out[phase] = {part: -(-size // ranks) if divided.get(part) else size for part, size in parts.items()}
        communication = 0
        if ranks > 1 and phase != "load":
            if zero == 0:
                communication = gradient_bytes
            elif zero < 3:
                communication = min(gradient_bytes, 2 * BUCKET)
            elif phase != "optimizer_step":
                communication = outside_bytes + (3 if phase == "backward" else 2) * block_bytes
                out[phase]["saved"] = max(0, parts["saved"] - copies)
        out[phase]["communication"] = communication
    return out
