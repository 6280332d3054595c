"""The shape of a GPT into bytes and FLOPs by formula, without a model: for planning before there is code.

    L layers, h width, a heads, s context, V vocabulary, b batch; y bytes of one activation

The counts follow Korthikanti et al. 2022 (arXiv 2205.05198, section 4), with what differs in PyTorch: 16 activations of
size s b h a layer instead of 34 bytes, because dropout may be off and fused attention keeps one number a row.
"""

from typing import NamedTuple

from mlcourse.errors import unknown_name

BYTES = {"fp32": 4, "bf16": 2, "mixed-bf16": 2, "mixed-fp16": 2}
STATES = {"sgd": 0, "momentum": 1, "adam": 2, "adamw": 2}  # numbers the optimizer keeps for a parameter


class Shape(NamedTuple):
    """A decoder-only Transformer with learned positions, biases and a tied head."""

    layers: int
    width: int
    heads: int
    context: int
    vocabulary: int


class ClosedForm(NamedTuple):
    """Bytes of a step from its second on, and its FLOPs."""

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    saved: int
    head_transient: int
    tensor_peak: int
    forward_flops: int
    flops: int


def parameters_of(shape: Shape) -> int:
    """Weights and biases.

    >>> parameters_of(Shape(12, 768, 12, 1024, 50257))
    124439808
    """
    L, h, _, s, V = shape
    return L * (12 * h * h + 13 * h) + (V + s) * h + 2 * h


def closed_form(
    shape: Shape,
    batch: int,
    *,
    optimizer: str = "adamw",
    precision: str = "fp32",
    attention: str = "fused",
    dropout: bool = False,
) -> ClosedForm:
    """Memory and FLOPs of one training step without checkpointing.

    Args:
        batch: sequences in a step.
        precision: "fp32", "bf16", "mixed-bf16" or "mixed-fp16".
        attention: "fused" or "naive".
        dropout: whether the model has dropout (of any rate), after the embedding, both halves of a layer and attention.

    Raises:
        ValueError: an unknown optimizer, precision or attention.

    >>> gpt2 = closed_form(Shape(12, 768, 12, 1024, 50257), 4)
    >>> round(gpt2.saved / 1e6), round(gpt2.tensor_peak / 1e6)
    (3268, 6408)

    Built in lesson 07.
    """
    for kind, name, known in (
        ("optimizer", optimizer, STATES),
        ("precision", precision, BYTES),
        ("attention", attention, ("fused", "naive")),
    ):
        if name not in known:
            raise ValueError(unknown_name(kind, name, known))
    (L, h, a, s, V), b, y = shape, batch, BYTES[precision]
    mixed, P = precision.startswith("mixed"), parameters_of(shape)
    y_stored = 4 if mixed else y  # weights, gradients, the residual stream and the log-softmax
    weights, states = y_stored * P, STATES[optimizer] * y_stored * P
    # Of the 16, the inputs of the two norms are on the residual stream; the others are outputs of matrix products. Each norm
    # also keeps mean and deviation of every token.
    layer = (14 * y + 2 * y_stored) * s * b * h + (2 * s * b * h if dropout else 0) + 4 * y_stored * s * b
    scores = a * s * s * b
    if attention == "fused":
        layer += 4 * a * s * b  # one fp32 number a row of scores
    elif mixed:
        layer += s * s + (4 + y + dropout) * scores  # the masked pairs; the softmax in fp32, its copy for the product, the mask
    else:
        layer += s * s + (2 * y + 1 if dropout else y) * scores
    copies = y * (L * 12 * h * h + V * h) if mixed else 0  # autocast's copies of the matrices, kept for the backward pass
    saved = L * layer + (y + y_stored) * s * b * h + (s * b * h if dropout else 0) + b * s * V * y_stored + copies
    saved += 2 * 8 * b * s + 2 * y_stored * b * s  # the tokens and targets, and the last norm's mean and deviation
    head = 2 * b * s * V * y_stored
    # With a small vocabulary the fullest instant is in the last layer's MLP: gradients of 4h on both sides of the GELU and
    # one of h, when the log-softmax and five activations of size s b h have been released; the gradients of the head and of
    # one matrix of the MLP are there already, and autocast's copies of these two are gone.
    mlp = (4 if mixed else 3) * y * s * b * h - b * s * V * y_stored + (y_stored - y * mixed) * (V * h + 4 * h * h)
    # The third candidate is the optimizer's step: gradients, and a temporary array for each weight.
    linear, product = 2 * (12 * L * h * h + V * h) * b * s, 4 * L * b * s * s * h
    return ClosedForm(
        parameters=P,
        weights=weights,
        gradients=weights,
        optimizer=states,
        saved=saved,
        head_transient=head,
        tensor_peak=weights + states + max(saved + max(head, mlp), (1 if optimizer == "sgd" else 2) * weights),
        forward_flops=linear + product,
        flops=3 * linear + (7 if attention == "fused" else 6) * product // 2,
    )
