"""Answers to the exercises of lesson 07 as students write them, wrong and right, with the words that must be said."""

import math
import re
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from mlcourse.checks.killrate import Bank

bank = Bank()


def counted(run):
    """The FLOPs that PyTorch counts while `run()` goes; on the meta device nothing is computed."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


# 7.1 mlp_counts


@bank.wrong("7.1", "The biases are not among the parameters")
def weights_only(sizes, *, batch, bias):
    weights = [a * b for a, b in zip(sizes, sizes[1:], strict=False)]
    forward = sum(2 * batch * w for w in weights)
    return {"parameters": sum(weights), "forward": forward, "step": 3 * forward - 2 * batch * weights[0]}


@bank.wrong("7.1", "no biases where `bias` is False")
def always_biases(sizes, *, batch, bias):
    weights = [a * b for a, b in pairwise(sizes)]
    forward = 2 * batch * sum(weights)
    parameters = sum(weights) + sum(sizes[1:])
    return {"parameters": parameters, "forward": forward, "step": 3 * forward - 2 * batch * weights[0]}


@bank.wrong("7.1", "counted by its inputs")
def biases_of_the_inputs(sizes, *, batch, bias):
    parameters = forward = 0
    for fan_in, fan_out in pairwise(sizes):
        parameters += fan_in * fan_out + (fan_in if bias else 0)
        forward += 2 * batch * fan_in * fan_out
    return {"parameters": parameters, "forward": forward, "step": 3 * forward - 2 * batch * sizes[0] * sizes[1]}


@bank.wrong("7.1", "is *two* floating-point operations")
def multiply_adds(sizes, *, batch, bias):
    weights = np.array(sizes[:-1]) * np.array(sizes[1:])
    macs = batch * weights
    parameters = weights.sum() + bias * sum(sizes[1:])
    return {"parameters": parameters, "forward": macs.sum(), "step": 3 * macs.sum() - macs[0]}


@bank.wrong("7.1", "times `batch`")
def one_example(sizes, *, batch, bias):
    weights = [a * b for a, b in pairwise(sizes)]
    forward = 2 * sum(weights)
    parameters = sum(weights) + (sum(sizes[1:]) if bias else 0)
    return {"parameters": parameters, "forward": forward, "step": 3 * forward - 2 * weights[0]}


@bank.wrong("7.1", "nobody asks for the gradient of the data")
def three_times_forward(sizes, *, batch, bias):
    weights = [a * b for a, b in pairwise(sizes)]
    forward = 2 * batch * sum(weights)
    return {"parameters": sum(weights) + (sum(sizes[1:]) if bias else 0), "forward": forward, "step": 3 * forward}


@bank.wrong("7.1", "the backward pass was counted as one product")
def backward_once(sizes, *, batch, bias):
    weights = [a * b for a, b in pairwise(sizes)]
    forward = 2 * batch * sum(weights)
    backward = forward
    return {"parameters": sum(weights) + (sum(sizes[1:]) if bias else 0), "forward": forward, "step": forward + backward}


@bank.wrong("7.1", "this is the backward pass without the forward pass")
def backward_without_forward(sizes, *, batch, bias):
    weights = [a * b for a, b in pairwise(sizes)]
    forward = 2 * batch * sum(weights)
    step = 2 * forward - 2 * batch * weights[0]
    return {"parameters": sum(weights) + (sum(sizes[1:]) if bias else 0), "forward": forward, "step": step}


@bank.wrong("7.1", "The first layer's backward pass is missing altogether")
def first_layer_never_learns(sizes, *, batch, bias):
    layers = list(pairwise(sizes))
    products = [2 * batch * a * b for a, b in layers]
    parameters = sum(a * b + b * bias for a, b in layers)
    return {"parameters": parameters, "forward": sum(products), "step": sum(products) + 2 * sum(products[1:])}


@bank.wrong("7.1", "The additions of the biases were counted")
def with_the_additions(sizes, *, batch, bias):
    products = [batch * (2 * a * b + (b if bias else 0)) for a, b in pairwise(sizes)]
    parameters = sum(a * b + b * bias for a, b in pairwise(sizes))
    return {"parameters": parameters, "forward": sum(products), "step": 3 * sum(products) - products[0]}


@bank.right("7.1")
def counted_by_pytorch(sizes, *, batch, bias):
    layers = [torch.nn.Linear(a, b, bias=bias, device="meta") for a, b in pairwise(sizes)]
    model = torch.nn.Sequential(*layers)
    x = torch.empty(batch, sizes[0], device="meta")
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "forward": counted(lambda: model(x)),
        "step": counted(lambda: model(x).sum().backward()),
    }


@bank.right("7.1")
def layer_by_layer(sizes, *, batch, bias):
    counts = {"parameters": 0, "forward": 0, "step": 0}
    for number, (a, b) in enumerate(pairwise(sizes)):
        counts["parameters"] += (a + 1) * b if bias else a * b
        counts["forward"] += 2 * batch * a * b
        counts["step"] += (2 if number == 0 else 3) * 2 * batch * a * b
    return counts


# 7.2 conv2d_counts


def convolved(in_channels, out_channels, kernel, output, groups, bias, batch):
    weights = out_channels * (in_channels // groups) * kernel[0] * kernel[1]
    return {
        "output": output,
        "parameters": weights + (out_channels if bias else 0),
        "forward": 2 * batch * output[0] * output[1] * weights,
    }


@bank.wrong("7.2", "The stride is ignored")
def no_stride(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    h, w = (s + 2 * padding - dilation * (k - 1) for s, k in zip(size, kernel, strict=True))
    return convolved(in_channels, out_channels, kernel, (h, w), groups, bias, batch)


@bank.wrong("7.2", "The padding is ignored")
def no_padding(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    h, w = ((s - dilation * (k - 1) - 1) // stride + 1 for s, k in zip(size, kernel, strict=True))
    return convolved(in_channels, out_channels, kernel, (h, w), groups, bias, batch)


@bank.wrong("7.2", "The padding was added once")
def padding_on_one_side(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    h, w = ((s + padding - dilation * (k - 1) - 1) // stride + 1 for s, k in zip(size, kernel, strict=True))
    return convolved(in_channels, out_channels, kernel, (h, w), groups, bias, batch)


@bank.wrong("7.2", "The dilation is ignored")
def no_dilation(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    h, w = (int((s + 2 * padding - k) / stride) + 1 for s, k in zip(size, kernel, strict=True))
    return convolved(in_channels, out_channels, kernel, (h, w), groups, bias, batch)


@bank.wrong("7.2", "The + 1 is missing")
def one_position_too_few(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    h, w = ((s + 2 * padding - dilation * (k - 1) - 1) // stride for s, k in zip(size, kernel, strict=True))
    return convolved(in_channels, out_channels, kernel, (h, w), groups, bias, batch)


@bank.wrong("7.2", "round down")
def rounded_up(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    steps = [math.ceil((s + 2 * padding - dilation * (k - 1) - 1) / stride) for s, k in zip(size, kernel, strict=True)]
    h, w = steps[0] + 1, steps[1] + 1
    return convolved(in_channels, out_channels, kernel, (h, w), groups, bias, batch)


def output_size(size, kernel, stride, padding, dilation):
    return tuple((s + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for s, k in zip(size, kernel, strict=True))


@bank.wrong("7.2", "The groups are ignored")
def no_groups(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    output = output_size(size, kernel, stride, padding, dilation)
    return convolved(in_channels, out_channels, kernel, output, 1, bias, batch)


@bank.wrong("7.2", "The groups are in the parameters, but not in the FLOPs")
def groups_save_no_work(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    output = output_size(size, kernel, stride, padding, dilation)
    counts = convolved(in_channels, out_channels, kernel, output, groups, bias, batch)
    counts["forward"] = 2 * batch * math.prod(output) * out_channels * in_channels * math.prod(kernel)
    return counts


@bank.wrong("7.2", "The biases are missing")
def no_bias(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    output = output_size(size, kernel, stride, padding, dilation)
    return convolved(in_channels, out_channels, kernel, output, groups, False, batch)


@bank.wrong("7.2", "at every pixel of the *input*")
def at_every_pixel(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    output = output_size(size, kernel, stride, padding, dilation)
    weights = out_channels * in_channels // groups * math.prod(kernel)
    forward = 2 * batch * size[0] * size[1] * weights
    return {"output": output, "parameters": weights + out_channels * bias, "forward": forward}


@bank.wrong("7.2", "why 6ND fails for a convolutional net")
def each_weight_once(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    output = output_size(size, kernel, stride, padding, dilation)
    weights = out_channels * in_channels // groups * math.prod(kernel)
    return {"output": output, "parameters": weights + out_channels * bias, "forward": 2 * batch * weights}


@bank.wrong("7.2", "is *two* floating-point operations")
def convolution_macs(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    output = output_size(size, kernel, stride, padding, dilation)
    counts = convolved(in_channels, out_channels, kernel, output, groups, bias, batch)
    return counts | {"forward": counts["forward"] // 2}


@bank.wrong("7.2", "taken for a square")
def square_kernel(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    output = output_size(size, kernel, stride, padding, dilation)
    weights = out_channels * in_channels // groups * kernel[0] * kernel[0]
    forward = 2 * batch * math.prod(output) * weights
    return {"output": output, "parameters": weights + out_channels * bias, "forward": forward}


@bank.right("7.2")
def convolution_counted_by_pytorch(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    conv = torch.nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=bias, device="meta")
    x = torch.empty(batch, in_channels, *size, device="meta")
    return {
        "output": tuple(conv(x).shape[2:]),
        "parameters": sum(p.numel() for p in conv.parameters()),
        "forward": counted(lambda: conv(x)),
    }


@bank.right("7.2")
def by_sliding(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch):
    def positions(side, taps):
        reach = dilation * (taps - 1) + 1
        return len([start for start in range(-padding, side + padding, stride) if start + reach <= side + padding])

    output = [positions(*pair) for pair in zip(size, kernel, strict=True)]
    taps = kernel[0] * kernel[1] * in_channels / groups
    return {
        "output": output,
        "parameters": out_channels * (taps + bias),
        "forward": batch * output[0] * output[1] * out_channels * taps * 2,
    }


# 7.3 block_counts


def block_parameters(width, heads, kv_heads, hidden, bias):
    kv = width * kv_heads // heads
    matrices = 2 * width * width + 2 * width * kv + 2 * width * hidden
    return matrices, matrices + 2 * width + (bias and 2 * width + 2 * width + 2 * kv + hidden + width)


@bank.wrong("7.3", "The scores q·k and the sum of the values are missing")
def matrices_only(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    return {"parameters": parameters, "forward": 2 * batch * context * matrices}


@bank.wrong("7.3", "Half of attention is missing")
def causal_half(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    attention = 2 * width * context**2 / 2
    return {"parameters": parameters, "forward": 2 * batch * (context * matrices + attention)}


@bank.wrong("7.3", "Half of attention is missing")
def scores_without_the_values(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    scores = heads * context * context * (width // heads)
    return {"parameters": parameters, "forward": 2 * batch * (context * matrices + scores)}


@bank.wrong("7.3", "Attention was counted with the full width for each head")
def wide_heads(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    return {"parameters": parameters, "forward": 2 * batch * (context * matrices + 2 * heads * width * context**2)}


@bank.wrong("7.3", "Attention was counted for the kv_heads only")
def fewer_scores(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    attention = 2 * kv_heads * (width // heads) * context**2
    return {"parameters": parameters, "forward": 2 * batch * (context * matrices + attention)}


@bank.wrong("7.3", "as if every head had its own")
def full_keys(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, heads, hidden, bias)
    return {"parameters": parameters, "forward": 2 * batch * (context * matrices + 2 * width * context**2)}


@bank.wrong("7.3", "Attention stays within a sequence")
def one_long_sequence(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    tokens = batch * context
    return {"parameters": parameters, "forward": 2 * tokens * matrices + 4 * width * tokens**2}


@bank.wrong("7.3", "The layer norms are missing")
def no_norms(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    parameters -= 2 * width + 2 * width * bias
    return {"parameters": parameters, "forward": 2 * batch * context * (matrices + 2 * width * context)}


@bank.wrong("7.3", "The biases are missing where `bias` is True")
def block_without_biases(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, _ = block_parameters(width, heads, kv_heads, hidden, bias)
    return {"parameters": matrices + 2 * width, "forward": 2 * batch * context * (matrices + 2 * width * context)}


@bank.wrong("7.3", "Attention grows with context * context")
def linear_attention(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    return {"parameters": parameters, "forward": 2 * batch * context * (matrices + 2 * width)}


@bank.wrong("7.3", "is *two* floating-point operations")
def block_macs(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    return {"parameters": parameters, "forward": batch * context * (matrices + 2 * width * context)}


@bank.wrong("7.3", "which mixes the heads (width x width), is missing")
def heads_never_mixed(width, *, heads, kv_heads, hidden, bias, context, batch):
    matrices, parameters = block_parameters(width, heads, kv_heads, hidden, bias)
    matrices, parameters = matrices - width**2, parameters - width**2 - bias * width
    return {"parameters": parameters, "forward": 2 * batch * context * (matrices + 2 * width * context)}


class Block(torch.nn.Module):
    """A pre-norm block with shared keys and values, on the meta device."""

    def __init__(self, width, heads, kv_heads, hidden, bias):
        super().__init__()
        kv, where = width // heads * kv_heads, {"bias": bias, "device": "meta"}
        self.heads, self.kv_heads = heads, kv_heads
        self.norm1, self.norm2 = torch.nn.LayerNorm(width, **where), torch.nn.LayerNorm(width, **where)
        self.query, self.out = torch.nn.Linear(width, width, **where), torch.nn.Linear(width, width, **where)
        self.key, self.value = torch.nn.Linear(width, kv, **where), torch.nn.Linear(width, kv, **where)
        self.up, self.down = torch.nn.Linear(width, hidden, **where), torch.nn.Linear(hidden, width, **where)

    def forward(self, x, fused=False):
        batch, context, width = x.shape
        h = self.norm1(x)
        q, k, v = (part(h).view(batch, context, -1, width // self.heads) for part in (self.query, self.key, self.value))
        attention = self.fused_attention if fused else self.attention
        mixed = attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))  # (batch, heads, context, width of a head)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, context, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))

    def attention(self, q, k, v):
        batch, heads, context, _ = q.shape
        q = q.reshape(batch, self.kv_heads, heads // self.kv_heads * context, -1)  # the heads that share keys, stacked
        scores = (q @ k.mT).view(batch, heads, context, context) * k.shape[-1] ** -0.5
        future = torch.ones(context, context, dtype=torch.bool, device=q.device).triu(1)
        p = scores.masked_fill(future, -math.inf).softmax(-1)
        return (p.view(*q.shape[:3], context) @ v).view(batch, heads, context, -1)

    def fused_attention(self, q, k, v):
        """The kernel of a GPU; the meta device would choose the one that writes the scores out."""
        return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, True)[0]


@bank.right("7.3")
def block_counted_by_pytorch(width, *, heads, kv_heads, hidden, bias, context, batch):
    block = Block(width, heads, kv_heads, hidden, bias)
    x = torch.empty(batch, context, width, device="meta")
    return {"parameters": sum(p.numel() for p in block.parameters()), "forward": counted(lambda: block(x))}


@bank.right("7.3")
def from_a_list_of_layers(width, *, heads, kv_heads, hidden, bias, context, batch):
    head = width // heads
    layers = [(width, width), (width, kv_heads * head), (width, kv_heads * head), (width, width)]
    layers += [(width, hidden), (hidden, width)]
    parameters, flops = 2 * (2 * width if bias else width), 0
    for a, b in layers:
        parameters += a * b + (b if bias else 0)
        flops += 2 * a * b * batch * context
    for _ in range(batch * heads):
        flops += 2 * context * context * head  # scores
        flops += 2 * context * context * head  # values
    return {"parameters": parameters, "forward": flops}


# 7.4 language_model_counts


def model_parameters(layers, width, vocab, context, tied):
    return layers * (12 * width**2 + 13 * width) + (vocab + context) * width + 2 * width + (0 if tied else vocab * width)


@bank.wrong("7.4", "This is 6N")
def six_n(layers, *, width, vocab, context, tied):
    parameters = model_parameters(layers, width, vocab, context, tied)
    return {"parameters": parameters, "per_token": 6 * parameters}


@bank.wrong("7.4", "All parameters were counted as multiplied")
def six_n_and_attention(layers, *, width, vocab, context, tied):
    parameters = model_parameters(layers, width, vocab, context, tied)
    return {"parameters": parameters, "per_token": 6 * parameters + 12 * layers * width * context}


@bank.wrong("7.4", "Attention is missing")
def no_attention(layers, *, width, vocab, context, tied):
    matrices = 12 * layers * width * width + vocab * width
    return {"parameters": model_parameters(layers, width, vocab, context, tied), "per_token": 6 * matrices}


@bank.wrong("7.4", "Attention's forward pass is there")
def attention_forward_only(layers, *, width, vocab, context, tied):
    flops = 6 * (12 * layers * width**2 + vocab * width) + 4 * layers * context * width
    return {"parameters": model_parameters(layers, width, vocab, context, tied), "per_token": flops}


@bank.wrong("7.4", "because of the causal mask")
def causal_attention(layers, *, width, vocab, context, tied):
    flops = 6 * (12 * layers * width**2 + vocab * width) + 6 * layers * context * width
    return {"parameters": model_parameters(layers, width, vocab, context, tied), "per_token": flops}


@bank.wrong("7.4", "The head is missing from the FLOPs")
def no_head(layers, *, width, vocab, context, tied):
    flops = 72 * layers * width**2 + 12 * layers * context * width
    return {"parameters": model_parameters(layers, width, vocab, context, tied), "per_token": flops}


@bank.wrong("7.4", "The head's product is in the FLOPs forward only")
def head_forward_only(layers, *, width, vocab, context, tied):
    flops = 72 * layers * width**2 + 2 * vocab * width + 12 * layers * context * width
    return {"parameters": model_parameters(layers, width, vocab, context, tied), "per_token": flops}


@bank.wrong("7.4", "although `tied` says that the head uses the same matrix")
def always_untied(layers, *, width, vocab, context, tied):
    flops = 6 * (12 * layers * width**2 + vocab * width) + 12 * layers * context * width
    return {"parameters": model_parameters(layers, width, vocab, context, False), "per_token": flops}


@bank.wrong("7.4", "The head's own matrix is missing")
def always_tied(layers, *, width, vocab, context, tied):
    flops = 6 * (12 * layers * width**2 + vocab * width) + 12 * layers * context * width
    return {"parameters": model_parameters(layers, width, vocab, context, True), "per_token": flops}


@bank.wrong("7.4", "The positions are missing")
def no_positions(layers, *, width, vocab, context, tied):
    flops = 6 * (12 * layers * width**2 + vocab * width) + 12 * layers * context * width
    parameters = model_parameters(layers, width, vocab, context, tied) - context * width
    return {"parameters": parameters, "per_token": flops}


@bank.wrong("7.4", "The backward pass was counted as one product")
def twice_forward(layers, *, width, vocab, context, tied):
    forward = 2 * (12 * layers * width**2 + vocab * width) + 4 * layers * context * width
    return {"parameters": model_parameters(layers, width, vocab, context, tied), "per_token": 2 * forward}


@bank.wrong("7.4", "divide by the context")
def a_whole_sequence(layers, *, width, vocab, context, tied):
    forward = 2 * context * (12 * layers * width**2 + vocab * width) + 4 * layers * context**2 * width
    return {"parameters": model_parameters(layers, width, vocab, context, tied), "per_token": 3 * forward}


@bank.right("7.4")
def model_counted_by_pytorch(layers, *, width, vocab, context, tied):
    """With no block and with one, on the meta device; all blocks are alike."""

    def counts(num_blocks):
        blocks = torch.nn.Sequential(*(Block(width, width // 32, width // 32, 4 * width, True) for _ in range(num_blocks)))
        tokens = torch.nn.Embedding(vocab, width, device="meta")
        positions = torch.nn.Embedding(context, width, device="meta")
        norm = torch.nn.LayerNorm(width, device="meta")
        head = torch.nn.Linear(width, vocab, bias=False, device="meta")
        if tied:
            head.weight = tokens.weight

        def train():
            text = torch.zeros(1, context, dtype=torch.long, device="meta")
            x = tokens(text) + positions(torch.arange(context, device="meta"))
            head(norm(blocks(x))).sum().backward()

        model = torch.nn.ModuleList([blocks, tokens, positions, norm, head])
        return np.array([sum(p.numel() for p in model.parameters()), counted(train) / context])

    none, one = counts(0), counts(1)
    parameters, per_token = none + layers * (one - none)
    return {"parameters": parameters, "per_token": per_token}


@bank.right("7.4")
def by_hand(layers, *, width, vocab, context, tied):
    attention = 4 * (width + 1) * width
    mlp = (width + 1) * 4 * width + (4 * width + 1) * width
    total = layers * (attention + mlp + 4 * width) + vocab * width + context * width + 2 * width
    total += 0 if tied else vocab * width
    forward = layers * (8 * width**2 + 16 * width**2 + 4 * context * width) + 2 * width * vocab
    return {"parameters": total, "per_token": forward + 2 * forward}


# 7.5 state_bytes


def zero_split(weights, gradients, optimizer, gpus, zero):
    return {
        "weights": weights / gpus if zero > 2 else weights,
        "gradients": gradients / gpus if zero > 1 else gradients,
        "optimizer": optimizer / gpus if zero > 0 else optimizer,
    }


@bank.wrong("7.5", "One is counted here")
def one_moment(num_params, *, optimizer, precision, gpus, zero):
    size = 4 if precision == "float32" else 2
    states = 0 if optimizer == "sgd" else 1
    master = 4 if precision == "mixed" else 0
    each = states * (4 if precision != "bfloat16" else 2) + master
    return zero_split(size * num_params, size * num_params, each * num_params, gpus, zero)


@bank.wrong("7.5", "The master copy is missing")
def no_master(num_params, *, optimizer, precision, gpus, zero):
    size = {"float32": 4, "bfloat16": 2, "mixed": 2}[precision]
    state = {"float32": 4, "bfloat16": 2, "mixed": 4}[precision]
    number = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer]
    return zero_split(size * num_params, size * num_params, number * state * num_params, gpus, zero)


@bank.wrong("7.5", "The master copy was counted among the weights")
def master_is_a_weight(num_params, *, optimizer, precision, gpus, zero):
    size = {"float32": 4, "bfloat16": 2, "mixed": 2}[precision]
    state = {"float32": 4, "bfloat16": 2, "mixed": 4}[precision]
    number = ("sgd", "momentum", "adam").index(optimizer)
    weights = (size + 4 * (precision == "mixed")) * num_params
    return zero_split(weights, size * num_params, number * state * num_params, gpus, zero)


@bank.wrong("7.5", "Momentum keeps one number")
def momentum_is_free(num_params, *, optimizer, precision, gpus, zero):
    size = {"float32": 4, "bfloat16": 2, "mixed": 2}[precision]
    state = {"float32": 4, "bfloat16": 2, "mixed": 4}[precision]
    number = 2 if optimizer == "adam" else 0
    each = number * state + 4 * (precision == "mixed")
    return zero_split(size * num_params, size * num_params, each * num_params, gpus, zero)


@bank.wrong("7.5", "with `mixed` that is bfloat16 here")
def float32_gradients(num_params, *, optimizer, precision, gpus, zero):
    size = {"float32": 4, "bfloat16": 2, "mixed": 2}[precision]
    state = {"float32": 4, "bfloat16": 2, "mixed": 4}[precision]
    each = ("sgd", "momentum", "adam").index(optimizer) * state + 4 * (precision == "mixed")
    return zero_split(size * num_params, state * num_params, each * num_params, gpus, zero)


@bank.wrong("7.5", "would not survive in bfloat16")
def short_moments(num_params, *, optimizer, precision, gpus, zero):
    size = 4 if precision == "float32" else 2
    each = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer] * size + 4 * (precision == "mixed")
    return zero_split(size * num_params, size * num_params, each * num_params, gpus, zero)


@bank.wrong("7.5", "Nothing was split")
def without_zero(num_params, *, optimizer, precision, gpus, zero):
    size, state, master = {"float32": (4, 4, 0), "bfloat16": (2, 2, 0), "mixed": (2, 4, 4)}[precision]
    each = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer] * state + master
    return {"weights": size * num_params, "gradients": size * num_params, "optimizer": each * num_params}


@bank.wrong("7.5", "Plain data parallelism gives each card a whole copy")
def everything_shared(num_params, *, optimizer, precision, gpus, zero):
    size, state, master = {"float32": (4, 4, 0), "bfloat16": (2, 2, 0), "mixed": (2, 4, 4)}[precision]
    each = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer] * state + master
    return {
        "weights": size * num_params / gpus,
        "gradients": size * num_params / gpus,
        "optimizer": each * num_params / gpus,
    }


@bank.wrong("7.5", "The stages build on one another")
def one_stage_at_a_time(num_params, *, optimizer, precision, gpus, zero):
    size, state, master = {"float32": (4, 4, 0), "bfloat16": (2, 2, 0), "mixed": (2, 4, 4)}[precision]
    each = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer] * state + master
    parts = {"optimizer": each * num_params, "gradients": size * num_params, "weights": size * num_params}
    if zero:
        parts[list(parts)[zero - 1]] /= gpus
    return parts


@bank.wrong("7.5", "first the optimizer's part, which is the largest")
def weights_first(num_params, *, optimizer, precision, gpus, zero):
    size, state, master = {"float32": (4, 4, 0), "bfloat16": (2, 2, 0), "mixed": (2, 4, 4)}[precision]
    each = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer] * state + master
    parts = {"weights": size * num_params, "gradients": size * num_params, "optimizer": each * num_params}
    return {name: parts[name] / gpus if zero >= stage else parts[name] for stage, name in enumerate(parts, start=1)}


@bank.right("7.5")
def from_tables(num_params, *, optimizer, precision, gpus, zero):
    size, state, master = {"float32": (4, 4, 0), "bfloat16": (2, 2, 0), "mixed": (2, 4, 4)}[precision]
    each = {"sgd": 0, "momentum": 1, "adam": 2}[optimizer] * state + master
    return zero_split(size * num_params, size * num_params, each * num_params, gpus, zero)


@bank.right("7.5")
def from_tensors(num_params, *, optimizer, precision, gpus, zero):
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    kept = torch.float32 if precision == "mixed" else dtype
    weight = torch.empty(num_params, dtype=dtype, device="meta")
    numbers = (optimizer != "sgd") + (optimizer == "adam") + (precision == "mixed")
    states = [torch.empty(num_params, dtype=kept, device="meta") for _ in range(numbers)]
    shares = [gpus if zero >= stage else 1 for stage in (3, 2, 1)]
    totals = [weight.nbytes, torch.empty_like(weight).nbytes, sum(state.nbytes for state in states)]
    return dict(zip(("weights", "gradients", "optimizer"), (t / s for t, s in zip(totals, shares, strict=True)), strict=True))


# 7.6 saved_bytes


@bank.wrong("7.6", "A storage was counted each time it was saved")
def all_entries(saved, parameter_storages):
    return sum(t["storage_bytes"] for t in saved if t["storage"] not in parameter_storages)


@bank.wrong("7.6", "The weights were counted too")
def with_the_weights(saved, parameter_storages):
    return sum({t["storage"]: t["storage_bytes"] for t in saved}.values())


@bank.wrong("7.6", "These are the bytes of the tensors")
def bytes_of_the_view(saved, parameter_storages):
    seen, total = set(parameter_storages), 0
    for tensor in saved:
        if tensor["storage"] not in seen:
            total += tensor["bytes"]
            seen.add(tensor["storage"])
    return total


@bank.wrong("7.6", "All views were added up by their own bytes")
def views_added_up(saved, parameter_storages):
    total = 0
    for tensor in saved:
        if tensor["storage"] not in parameter_storages:
            total += tensor["bytes"]
    return total


@bank.wrong("7.6", "A name says nothing")
def once_by_name(saved, parameter_storages):
    first = {}
    for tensor in saved:
        if tensor["storage"] not in parameter_storages and tensor["name"] not in first:
            first[tensor["name"]] = tensor["storage_bytes"]
    return sum(first.values())


@bank.wrong("7.6", "Storages of one size were taken for one")
def a_set_of_sizes(saved, parameter_storages):
    return sum({t["storage_bytes"] for t in saved if t["storage"] not in parameter_storages})


@bank.wrong("7.6", "the number of storages")
def how_many(saved, parameter_storages):
    return len({t["storage"] for t in saved} - set(parameter_storages))


@bank.wrong("7.6", "only the parameters were counted")
def the_wrong_way_round(saved, parameter_storages):
    return sum({t["storage"]: t["storage_bytes"] for t in saved if t["storage"] in parameter_storages}.values())


@bank.right("7.6")
def by_a_dict(saved, parameter_storages):
    sizes = {t["storage"]: t["storage_bytes"] for t in saved}
    return sum(size for storage, size in sizes.items() if storage not in parameter_storages)


@bank.right("7.6")
def by_a_set_of_pairs(saved, parameter_storages):
    pairs = {(t["storage"], t["storage_bytes"]) for t in saved if t["storage"] not in set(parameter_storages)}
    return np.array([size for _, size in pairs], dtype=np.int64).sum()


# 7.7 activation_bytes


def kept_by_a_block(batch, context, width, heads, kv_heads, hidden, bytes_each, fused):
    kv = width // heads * kv_heads
    attention = 4 * heads if fused else heads * context * bytes_each
    return batch * context * ((6 * width + 2 * kv + 2 * hidden) * bytes_each + 16 + attention)


@bank.wrong("7.7", "The scores are missing")
def no_scores(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    block = kept_by_a_block(batch, context, width, heads, kv_heads, hidden, bytes_each, fused)
    if not fused:
        block -= batch * heads * context**2 * bytes_each
    entrance = batch * context * width * bytes_each
    return (layers - 1) * entrance + block if checkpoint else layers * block


@bank.wrong("7.7", "counted for one head")
def scores_of_one_head(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    kv = width // heads * kv_heads
    token = (6 * width + 2 * kv + 2 * hidden) * bytes_each + 16 + (4 * heads if fused else context * bytes_each)
    block = batch * context * token
    return (layers - 1) * batch * context * width * bytes_each + block if checkpoint else layers * block


@bank.wrong("7.7", "one float32 number for each head and token is all")
def fused_like_naive(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    block = kept_by_a_block(batch, context, width, heads, kv_heads, hidden, bytes_each, False)
    return (layers - 1) * batch * context * width * bytes_each + block if checkpoint else layers * block


@bank.wrong("7.7", "The statistics of the two norms are missing")
def no_statistics(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    block = kept_by_a_block(batch, context, width, heads, kv_heads, hidden, bytes_each, fused) - 16 * batch * context
    return (layers - 1) * batch * context * width * bytes_each + block if checkpoint else layers * block


@bank.wrong("7.7", "They are kv_heads * width / heads wide")
def keys_as_wide_as_the_model(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    block = kept_by_a_block(batch, context, width, heads, heads, hidden, bytes_each, fused)
    return (layers - 1) * batch * context * width * bytes_each + block if checkpoint else layers * block


@bank.wrong("7.7", "before its activation function and after it")
def hidden_once(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    block = kept_by_a_block(batch, context, width, heads, kv_heads, hidden / 2, bytes_each, fused)
    return (layers - 1) * batch * context * width * bytes_each + block if checkpoint else layers * block


@bank.wrong("7.7", "All was counted in float32")
def always_float32(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    block = kept_by_a_block(batch, context, width, heads, kv_heads, hidden, 4, fused)
    return (layers - 1) * batch * context * width * 4 + block if checkpoint else layers * block


@bank.wrong("7.7", "Checkpointing changes nothing here")
def checkpoint_ignored(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    return layers * kept_by_a_block(batch, context, width, heads, kv_heads, hidden, bytes_each, fused)


@bank.wrong("7.7", "these are the inputs of the blocks alone")
def inputs_only(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    if checkpoint:
        return layers * batch * context * width * bytes_each
    return layers * kept_by_a_block(batch, context, width, heads, kv_heads, hidden, bytes_each, fused)


@bank.wrong("7.7", "one input was counted twice")
def input_twice(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    block = kept_by_a_block(batch, context, width, heads, kv_heads, hidden, bytes_each, fused)
    return layers * batch * context * width * bytes_each + block if checkpoint else layers * block


@bank.wrong("7.7", "The batch is forgotten")
def one_sequence(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    block = kept_by_a_block(1, context, width, heads, kv_heads, hidden, bytes_each, fused)
    return (layers - 1) * context * width * bytes_each + block if checkpoint else layers * block


@bank.right("7.7")
def from_a_table(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    tokens, kv = batch * context, kv_heads * (width // heads)
    rows = dict(x=width, norm1=width, q=width, k=kv, v=kv, mixed=width, x2=width, norm2=width, up=hidden, gelu=hidden)
    inside = sum(rows.values()) * bytes_each * tokens + 4 * 4 * tokens
    inside += tokens * heads * (4 if fused else context * bytes_each)
    if checkpoint:
        return layers * width * bytes_each * tokens + inside - rows["x"] * bytes_each * tokens
    return sum(inside for _ in range(layers))


@bank.right("7.7")
def traced_by_autograd(layers, *, batch, context, width, heads, kv_heads, hidden, bytes_each, fused, checkpoint):
    """What PyTorch saves in real blocks; with checkpointing in one of them, and the inputs of the others."""
    dtype = {2: torch.bfloat16, 4: torch.float32}[bytes_each]
    traced = [Block(width, heads, kv_heads, hidden, False).to(dtype) for _ in range(1 if checkpoint else layers)]
    owned = {p.untyped_storage()._cdata for block in traced for p in block.parameters()}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if tensor.is_floating_point() and storage._cdata not in owned:  # not the mask, not the state of the dropout
            found[storage._cdata] = storage
        return tensor

    x = torch.empty(batch, context, width, dtype=dtype, device="meta", requires_grad=True)
    entrance = x.nbytes
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        for block in traced:
            x = block(x, fused)
    return sum(storage.nbytes() for storage in found.values()) + (layers - len(traced)) * entrance


# 7.8 kv_cache


@bank.wrong("7.8", "There are keys *and* values")
def keys_only(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = layers * kv_heads * (width // heads) * context * bytes_each
    return {"bytes": each, "sequences": max(0, int((card_gib * 2**30 - num_params * bytes_each) // each))}


@bank.wrong("7.8", "The cache was counted for all heads")
def all_heads(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = 2 * layers * width * context * bytes_each
    return {"bytes": each, "sequences": max(0, int((card_gib * 2**30 - num_params * bytes_each) // each))}


@bank.wrong("7.8", "The layers are forgotten")
def one_layer(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = 2 * kv_heads * (width // heads) * context * bytes_each
    return {"bytes": each, "sequences": max(0, int((card_gib * 2**30 - num_params * bytes_each) // each))}


@bank.wrong("7.8", "These are numbers, not bytes")
def numbers_not_bytes(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = 2 * layers * kv_heads * (width // heads) * context
    return {"bytes": each, "sequences": max(0, int((card_gib * 2**30 - num_params) // each))}


@bank.wrong("7.8", "The weights were counted as parameters")
def weights_of_one_byte(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = 2 * layers * kv_heads * (width // heads) * context * bytes_each
    return {"bytes": each, "sequences": max(0, int((card_gib * 2**30 - num_params) // each))}


@bank.wrong("7.8", "The weights are on the card too")
def weights_elsewhere(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = 2 * layers * kv_heads * (width // heads) * context * bytes_each
    return {"bytes": each, "sequences": int(card_gib * 2**30 // each)}


@bank.wrong("7.8", "A GiB has 2³⁰ bytes")
def a_card_in_gb(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = 2 * layers * kv_heads * (width // heads) * context * bytes_each
    return {"bytes": each, "sequences": max(0, int((card_gib * 1e9 - num_params * bytes_each) // each))}


@bank.wrong("7.8", "A number of sequences below 0")
def fewer_than_none(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = 2 * layers * kv_heads * (width // heads) * context * bytes_each
    return {"bytes": each, "sequences": math.floor((card_gib * 2**30 - num_params * bytes_each) / each)}


@bank.wrong("7.8", "not a whole number")
def parts_of_a_sequence(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = 2 * layers * kv_heads * (width // heads) * context * bytes_each
    return {"bytes": each, "sequences": max(0, (card_gib * 2**30 - num_params * bytes_each) / each)}


@bank.wrong("7.8", "the scores are not kept")
def cache_of_scores(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    each = 2 * layers * kv_heads * (width // heads) * context * context * bytes_each
    return {"bytes": each, "sequences": max(0, int((card_gib * 2**30 - num_params * bytes_each) // each))}


@bank.right("7.8")
def a_token_at_a_time(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    key = value = width // heads * bytes_each
    each = context * layers * kv_heads * (key + value)
    room = card_gib * 1024**3 - bytes_each * num_params
    return {"bytes": each, "sequences": math.floor(room / each) if room > 0 else 0}


@bank.right("7.8")
def cache_from_tensors(layers, *, width, heads, kv_heads, context, bytes_each, num_params, card_gib):
    dtype = {1: torch.int8, 2: torch.bfloat16, 4: torch.float32}[bytes_each]
    cache = torch.empty(layers, 2, kv_heads, context, width // heads, dtype=dtype, device="meta")
    weights = torch.empty(num_params, dtype=dtype, device="meta")
    return {"bytes": cache.nbytes, "sequences": max(0, (int(card_gib * 2**30) - weights.nbytes) // cache.nbytes)}


# 7.9 will_it_fit


@bank.wrong("7.9", "The phases were added up")
def sum_of_all_phases(phases, *, card_gib, context_gib, slack):
    totals = {name: sum(parts.values()) for name, parts in phases.items()}
    worst = max(totals, key=totals.get)
    needed = sum(totals.values()) * (1 + slack) + context_gib * 2**30
    return {"phase": worst, "bytes": needed, "fits": needed <= card_gib * 2**30}


@bank.wrong("7.9", "They do not occur at the same moment")
def largest_of_each(phases, *, card_gib, context_gib, slack):
    largest = {}
    for parts in phases.values():
        for name, size in parts.items():
            largest[name] = max(size, largest.get(name, 0))
    worst = max(phases, key=lambda name: sum(phases[name].values()))
    needed = sum(largest.values()) * (1 + slack) + context_gib * 2**30
    return {"phase": worst, "bytes": needed, "fits": needed <= card_gib * 2**30}


@bank.wrong("7.9", "Only the backward pass was looked at")
def always_backward(phases, *, card_gib, context_gib, slack):
    needed = sum(phases["backward"].values()) * (1 + slack) + context_gib * 2**30
    return {"phase": "backward", "bytes": needed, "fits": needed <= card_gib * 2**30}


@bank.wrong("7.9", "The context is missing")
def no_context(phases, *, card_gib, context_gib, slack):
    totals = {name: sum(parts.values()) for name, parts in phases.items()}
    needed = max(totals.values()) * (1 + slack)
    return {"phase": max(totals, key=totals.get), "bytes": needed, "fits": needed <= card_gib * 2**30}


@bank.wrong("7.9", "The slack is missing")
def no_slack(phases, *, card_gib, context_gib, slack):
    totals = {name: sum(parts.values()) for name, parts in phases.items()}
    needed = max(totals.values()) + context_gib * 2**30
    return {"phase": max(totals, key=totals.get), "bytes": needed, "fits": needed <= card_gib * 2**30}


@bank.wrong("7.9", "The slack was put on the context too")
def slack_on_everything(phases, *, card_gib, context_gib, slack):
    totals = {name: sum(parts.values()) for name, parts in phases.items()}
    needed = (max(totals.values()) + context_gib * 2**30) * (1 + slack)
    return {"phase": max(totals, key=totals.get), "bytes": needed, "fits": needed <= card_gib * 2**30}


@bank.wrong("7.9", "A GiB was counted as 10⁹ bytes")
def all_in_gb(phases, *, card_gib, context_gib, slack):
    totals = {name: sum(parts.values()) for name, parts in phases.items()}
    needed = max(totals.values()) * (1 + slack) + context_gib * 1e9
    return {"phase": max(totals, key=totals.get), "bytes": needed, "fits": needed <= card_gib * 1e9}


@bank.wrong("7.9", "The card was counted in GB")
def card_in_gb(phases, *, card_gib, context_gib, slack):
    totals = {name: sum(parts.values()) for name, parts in phases.items()}
    needed = max(totals.values()) * (1 + slack) + context_gib * 2**30
    return {"phase": max(totals, key=totals.get), "bytes": needed, "fits": needed <= card_gib * 1e9}


@bank.wrong("7.9", "fits: `<=`")
def not_to_the_last_byte(phases, *, card_gib, context_gib, slack):
    totals = {name: sum(parts.values()) for name, parts in phases.items()}
    needed = max(totals.values()) * (1 + slack) + context_gib * 2**30
    return {"phase": max(totals, key=totals.get), "bytes": needed, "fits": needed < card_gib * 2**30}


@bank.wrong("7.9", "The verdict is the wrong way round")
def fits_when_it_does_not(phases, *, card_gib, context_gib, slack):
    totals = {name: sum(parts.values()) for name, parts in phases.items()}
    needed = max(totals.values()) * (1 + slack) + context_gib * 2**30
    return {"phase": max(totals, key=totals.get), "bytes": needed, "fits": needed > card_gib * 2**30}


@bank.wrong("7.9", "expected a str")
def number_of_the_phase(phases, *, card_gib, context_gib, slack):
    totals = [sum(parts.values()) for parts in phases.values()]
    needed = max(totals) * (1 + slack) + context_gib * 2**30
    return {"phase": totals.index(max(totals)), "bytes": needed, "fits": needed <= card_gib * 2**30}


@bank.right("7.9")
def in_a_loop(phases, *, card_gib, context_gib, slack):
    worst, most = None, -1
    for name, parts in phases.items():
        total = 0
        for size in parts.values():
            total += size
        if total > most:
            worst, most = name, total
    needed = most + slack * most + context_gib * 1024**3
    return {"fits": not needed > card_gib * 1024**3, "bytes": needed, "phase": worst}


@bank.right("7.9")
def in_gib(phases, *, card_gib, context_gib, slack):
    name = sorted(phases, key=lambda phase: -sum(phases[phase].values()))[0]
    gib = np.array(list(phases[name].values())).sum() / 2**30 * (1 + slack) + context_gib
    return {"phase": name, "bytes": gib * 2**30, "fits": np.bool_(gib <= card_gib)}


# 7.10 largest_batch


@bank.wrong("7.10", "The fixed part is forgotten")
def in_proportion(first, second, *, card_gib):
    batch, size = first
    return max(0, math.floor(card_gib * 2**30 / (size / batch)))


@bank.wrong("7.10", "the fixed part is not subtracted from the card")
def slope_without_intercept(first, second, *, card_gib):
    each = (second[1] - first[1]) / (second[0] - first[0])
    return int(card_gib * 2**30 // each)


@bank.wrong("7.10", "was not divided by the difference of the batches")
def as_if_neighbours(first, second, *, card_gib):
    each = second[1] - first[1]
    fixed = first[1] - each * first[0]
    return max(0, int((card_gib * 2**30 - fixed) // each))


@bank.wrong("7.10", "as if the first trace had one example")
def as_if_from_one(first, second, *, card_gib):
    (b1, m1), (b2, m2) = first, second
    each = (m2 - m1) / (b2 - b1)
    return max(0, int((card_gib * 2**30 - (m1 - each)) // each))


@bank.wrong("7.10", "That holds the activations of its batch too")
def all_of_the_first_is_fixed(first, second, *, card_gib):
    (b1, m1), (b2, m2) = first, second
    each = (m2 - m1) / (b2 - b1)
    return max(0, int((card_gib * 2**30 - m1) // each))


def largest(first, second, limit):
    (b1, m1), (b2, m2) = first, second
    each = (m2 - m1) / (b2 - b1)
    return (limit - m1) / each + b1


@bank.wrong("7.10", "Half an example doesn't fit")
def one_more(first, second, *, card_gib):
    return max(0, math.ceil(largest(first, second, card_gib * 2**30)))


@bank.wrong("7.10", "Rounding to the nearest")
def to_the_nearest(first, second, *, card_gib):
    return max(0, round(largest(first, second, card_gib * 2**30)))


@bank.wrong("7.10", "A batch below 0")
def below_zero(first, second, *, card_gib):
    return math.floor(largest(first, second, card_gib * 2**30))


@bank.wrong("7.10", "there is no batch of 1 that fits")
def at_least_one(first, second, *, card_gib):
    return max(1, math.floor(largest(first, second, card_gib * 2**30)))


@bank.wrong("7.10", "10⁹ is a GB")
def limit_in_gb(first, second, *, card_gib):
    return max(0, math.floor(largest(first, second, card_gib * 10**9)))


@bank.wrong("7.10", "a power of two")
def a_round_number(first, second, *, card_gib):
    batch = largest(first, second, card_gib * 2**30)
    return 2 ** int(math.log2(batch)) if batch >= 1 else 0


@bank.right("7.10")
def by_counting(first, second, *, card_gib):
    (b1, m1), (b2, m2) = sorted([first, second])
    each = (m2 - m1) // (b2 - b1)
    batch, used = 0, m1 - each * b1
    while used + each <= card_gib * 2**30:
        batch, used = batch + 1, used + each
    return batch


@bank.right("7.10")
def by_a_fit(first, second, *, card_gib):
    x, y = np.array([first, second], dtype=float).T
    each = np.diff(y)[0] / np.diff(x)[0]
    return np.clip((card_gib * 2**30 - (y - each * x).mean()) // each, 0, None).astype(int)


# 7.11 run_cost


def bill(gpu_hours, gpus, price, watts, pue):
    return {
        "hours": gpu_hours / gpus,
        "gpu_hours": gpu_hours,
        "dollars": gpu_hours * price,
        "kwh": gpu_hours * watts / 1000 * pue,
    }


@bank.wrong("7.11", "The time was multiplied by the utilisation")
def faster_when_idle(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    gpu_seconds = 6 * num_params * num_tokens / (peak_tflops * 1e12) * utilisation
    return bill(gpu_seconds / 3600, gpus, price, watts, pue)


@bank.wrong("7.11", "The utilisation is forgotten")
def at_the_peak(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    gpu_seconds = 6 * num_params * num_tokens / (peak_tflops * 1e12)
    return bill(gpu_seconds / 3600, gpus, price, watts, pue)


@bank.wrong("7.11", "These are seconds")
def in_seconds(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    return bill(6 * num_params * num_tokens / (peak_tflops * 1e12 * utilisation), gpus, price, watts, pue)


@bank.wrong("7.11", "It was paid for one GPU only")
def one_gpu_paid(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    hours = 6 * num_params * num_tokens / (gpus * peak_tflops * 1e12 * utilisation) / 3600
    return bill(hours * gpus, gpus, price, watts, pue) | {"dollars": hours * price}


@bank.wrong("7.11", "Price and power are those of one GPU")
def one_gpu_paid_and_powered(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    hours = 6 * num_params * num_tokens / (gpus * peak_tflops * 1e12 * utilisation) / 3600
    return {"hours": hours, "gpu_hours": hours * gpus, "dollars": hours * price, "kwh": hours * watts * pue / 1000}


@bank.wrong("7.11", "The number of GPUs is forgotten")
def gpus_forgotten(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    hours = 6 * num_params * num_tokens / (peak_tflops * 1e12 * utilisation) / 3600
    return {"hours": hours, "gpu_hours": hours, "dollars": hours * price, "kwh": hours * watts * pue / 1000}


@bank.wrong("7.11", "the forward pass only")
def forward_only(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    gpu_seconds = 2 * num_params * num_tokens / (peak_tflops * 1e12 * utilisation)
    return bill(gpu_seconds / 3600, gpus, price, watts, pue)


@bank.wrong("7.11", "These are multiply-adds: 3ND")
def three_nd(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    gpu_seconds = 3 * num_params * num_tokens / (peak_tflops * 1e12 * utilisation)
    return bill(gpu_seconds / 3600, gpus, price, watts, pue)


@bank.wrong("7.11", "not 10⁹")
def giga(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    gpu_seconds = 6 * num_params * num_tokens / (peak_tflops * 1e9 * utilisation)
    return bill(gpu_seconds / 3600, gpus, price, watts, pue)


@bank.wrong("7.11", "These are watt-hours")
def watt_hours(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    gpu_seconds = 6 * num_params * num_tokens / (peak_tflops * 1e12 * utilisation)
    return bill(gpu_seconds / 3600, gpus, price, 1000 * watts, pue)


@bank.wrong("7.11", "The PUE is forgotten")
def no_cooling(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    gpu_seconds = 6 * num_params * num_tokens / (peak_tflops * 1e12 * utilisation)
    return bill(gpu_seconds / 3600, gpus, price, watts, 1)


@bank.right("7.11")
def from_the_clock(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    cluster = gpus * peak_tflops * utilisation  # TFLOP/s
    hours = 6e-12 * num_params * num_tokens / cluster / 60 / 60
    return {
        "hours": hours,
        "gpu_hours": gpus * hours,
        "dollars": price * gpus * hours,
        "kwh": pue * watts * gpus * hours / 1e3,
    }


@bank.right("7.11")
def with_numpy(num_params, num_tokens, *, gpus, peak_tflops, utilisation, price, watts, pue):
    gpu_hours = np.float64(num_params) * num_tokens * 6 / np.prod([peak_tflops, 1e12, utilisation, 3600.0])
    return dict(
        zip(
            ("hours", "gpu_hours", "dollars", "kwh"), gpu_hours * np.array([1 / gpus, 1, price, watts * pue / 1e3]), strict=True
        )
    )


# 7.12 step_time


@bank.wrong("7.12", "The times were added")
def one_after_the_other(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    times = {
        "compute": flops / peak_tflops / 1e12,
        "memory": bytes_moved / bandwidth / 1e9,
        "overhead": kernels * launch_us / 1e6,
    }
    return {"seconds": sum(times.values()), "bound": max(times, key=times.get)}


@bank.wrong("7.12", "the fastest of the three")
def the_fastest(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    times = {
        "compute": flops / peak_tflops / 1e12,
        "memory": bytes_moved / bandwidth / 1e9,
        "overhead": kernels * launch_us / 1e6,
    }
    return {"seconds": min(times.values()), "bound": min(times, key=times.get)}


@bank.wrong("7.12", "Only the FLOPs were looked at")
def flops_only(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    return {"seconds": flops / (peak_tflops * 1e12), "bound": "compute"}


@bank.wrong("7.12", "The launches are forgotten")
def no_launches(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    compute, memory = flops / (peak_tflops * 1e12), bytes_moved / (bandwidth * 1e9)
    return {"seconds": max(compute, memory), "bound": "compute" if compute > memory else "memory"}


@bank.wrong("7.12", "a millisecond 10⁻³")
def milliseconds(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    times = [flops / (peak_tflops * 1e12), bytes_moved / (bandwidth * 1e9), kernels * launch_us / 1000]
    return {"seconds": max(times), "bound": ("compute", "memory", "overhead")[times.index(max(times))]}


@bank.wrong("7.12", "turned into bits")
def bandwidth_in_bits(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    times = [flops / (peak_tflops * 1e12), 8 * bytes_moved / (bandwidth * 1e9), kernels * launch_us * 1e-6]
    return {"seconds": max(times), "bound": ("compute", "memory", "overhead")[times.index(max(times))]}


@bank.wrong("7.12", "2³⁰ is a GiB")
def bandwidth_in_gib(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    times = [flops / (peak_tflops * 1e12), bytes_moved / (bandwidth * 2**30), kernels * launch_us * 1e-6]
    return {"seconds": max(times), "bound": ("compute", "memory", "overhead")[times.index(max(times))]}


@bank.wrong("7.12", "Work divided by speed is time")
def upside_down(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    times = [peak_tflops * 1e12 / flops, bandwidth * 1e9 / bytes_moved, kernels * launch_us * 1e-6]
    return {"seconds": max(times), "bound": ("compute", "memory", "overhead")[times.index(max(times))]}


@bank.wrong("7.12", "always bound by memory")
def memory_always(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    times = [flops / (peak_tflops * 1e12), bytes_moved / (bandwidth * 1e9), kernels * launch_us * 1e-6]
    return {"seconds": max(times), "bound": "memory"}


@bank.right("7.12")
def slowest_of_three(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    seconds, bound = max(
        (1e-12 * flops / peak_tflops, "compute"),
        (1e-9 * bytes_moved / bandwidth, "memory"),
        (1e-6 * launch_us * kernels, "overhead"),
    )
    return {"bound": bound, "seconds": seconds}


@bank.right("7.12")
def by_the_ridge(flops, bytes_moved, kernels, *, peak_tflops, bandwidth, launch_us):
    ridge = peak_tflops * 1e12 / (bandwidth * 1e9)  # FLOPs a byte
    bound = "compute" if flops / bytes_moved > ridge else "memory"
    seconds = flops / peak_tflops / 1e12 if bound == "compute" else bytes_moved / bandwidth / 1e9
    waiting = kernels * launch_us / 1e6
    return {"seconds": waiting, "bound": "overhead"} if waiting > seconds else {"seconds": seconds, "bound": bound}


# 7.13 utilisation


@bank.wrong("7.13", "still taken as it stands")
def broken_utilisation(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    achieved = 6 * active_params * num_tokens / (gpu_hours * 3600) / 1e12
    return {"tflops": achieved, "utilisation": achieved / sheet["bf16_tflops"]}


@bank.wrong("7.13", "Every rate was halved")
def all_halved(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    achieved = 6 * active_params * num_tokens / (gpu_hours * 3600) / 1e12
    return {"tflops": achieved, "utilisation": achieved / (sheet["bf16_tflops"] / 2)}


@bank.wrong("7.13", "It is the dense one twice already")
def doubled(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    achieved = 6 * active_params * num_tokens / (gpu_hours * 3600) / 1e12
    peak = sheet["bf16_tflops"] * (2 if sheet["with_sparsity"] else 1)
    return {"tflops": achieved, "utilisation": achieved / peak}


@bank.wrong("7.13", "must be the other way round")
def dense_halved(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    achieved = 6 * active_params * num_tokens / (gpu_hours * 3600) / 1e12
    peak = sheet["bf16_tflops"] if sheet["with_sparsity"] else sheet["bf16_tflops"] / 2
    return {"tflops": achieved, "utilisation": achieved / peak}


@bank.wrong("7.13", "it is the *peak* that must be halved")
def achieved_doubled(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    achieved = 6 * active_params * num_tokens / (gpu_hours * 3600) / 1e12
    if sheet["with_sparsity"]:
        achieved *= 2
    return {"tflops": achieved, "utilisation": achieved / sheet["bf16_tflops"]}


@bank.wrong("7.13", "All experts were counted")
def all_experts(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    achieved = 6 * total_params * num_tokens / (gpu_hours * 3600) / 1e12
    peak = sheet["bf16_tflops"] / (1 + sheet["with_sparsity"])
    return {"tflops": achieved, "utilisation": achieved / peak}


@bank.wrong("7.13", "An hour has 3600 seconds")
def an_hour_is_a_second(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    achieved = 6 * active_params * num_tokens / gpu_hours / 1e12
    return {"tflops": achieved, "utilisation": achieved / (sheet["bf16_tflops"] / (1 + sheet["with_sparsity"]))}


@bank.wrong("7.13", "Return the fraction, between 0 and 1")
def in_per_cent(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    achieved = 6 * active_params * num_tokens / (gpu_hours * 3600) / 1e12
    return {"tflops": achieved, "utilisation": 100 * achieved / (sheet["bf16_tflops"] / (1 + sheet["with_sparsity"]))}


@bank.right("7.13")
def with_a_dense_peak(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    peak = sheet["bf16_tflops"] * (0.5 if sheet["with_sparsity"] else 1.0)
    achieved = 6e-12 * active_params * num_tokens / gpu_hours / 3600
    return {"tflops": achieved, "utilisation": achieved / peak}


@bank.right("7.13")
def by_the_hours_needed(sheet, *, total_params, active_params, num_tokens, gpu_hours):
    dense = sheet["bf16_tflops"]
    if sheet["with_sparsity"]:
        dense = dense / 2
    at_the_peak = 6 * active_params * num_tokens / (dense * 1e12) / 3600  # GPU-hours
    share = at_the_peak / gpu_hours
    return {"utilisation": share, "tflops": share * dense}


# 7.14 epoch_time


@bank.wrong("7.14", "Bits are still taken for bytes")
def broken_epoch_time(num_examples, example_bytes, *, link_gbit, examples_per_second):
    loading = num_examples * example_bytes / (link_gbit * 1e9)
    computing = num_examples / examples_per_second
    return {"seconds": max(loading, computing), "bound": "data" if loading > computing else "compute"}


@bank.wrong("7.14", "The factor of 8 is on the wrong side")
def eight_times_faster(num_examples, example_bytes, *, link_gbit, examples_per_second):
    loading = num_examples * example_bytes / (link_gbit * 8 * 1e9)
    computing = num_examples / examples_per_second
    return {"seconds": max(loading, computing), "bound": "data" if loading > computing else "compute"}


@bank.wrong("7.14", "A network's giga is 10⁹")
def binary_giga(num_examples, example_bytes, *, link_gbit, examples_per_second):
    loading = num_examples * example_bytes * 8 / (link_gbit * 1024**3)
    computing = num_examples / examples_per_second
    return {"seconds": max(loading, computing), "bound": "data" if loading > computing else "compute"}


@bank.wrong("7.14", "The times were added")
def load_then_compute(num_examples, example_bytes, *, link_gbit, examples_per_second):
    loading = num_examples * example_bytes * 8 / (link_gbit * 1e9)
    computing = num_examples / examples_per_second
    return {"seconds": loading + computing, "bound": "data" if loading > computing else "compute"}


@bank.wrong("7.14", "The name still goes by the old comparison")
def mended_in_one_place(num_examples, example_bytes, *, link_gbit, examples_per_second):
    loading = num_examples * example_bytes / (link_gbit * 1e9)
    computing = num_examples / examples_per_second
    bound = "data" if loading > computing else "compute"
    return {"seconds": max(8 * loading, computing), "bound": bound}


@bank.wrong("7.14", "the name is that of the faster")
def names_exchanged(num_examples, example_bytes, *, link_gbit, examples_per_second):
    loading = num_examples * example_bytes * 8 / (link_gbit * 1e9)
    computing = num_examples / examples_per_second
    return {"seconds": max(loading, computing), "bound": "data" if loading < computing else "compute"}


@bank.wrong("7.14", "whatever computing takes")
def loading_only(num_examples, example_bytes, *, link_gbit, examples_per_second):
    loading = num_examples * example_bytes * 8 / (link_gbit * 1e9)
    return {"seconds": loading, "bound": "data" if loading > num_examples / examples_per_second else "compute"}


@bank.wrong("7.14", "An epoch has `num_examples` of them")
def seconds_an_example(num_examples, example_bytes, *, link_gbit, examples_per_second):
    loading, computing = example_bytes * 8 / (link_gbit * 1e9), 1 / examples_per_second
    return {"seconds": max(loading, computing), "bound": "data" if loading > computing else "compute"}


@bank.right("7.14")
def link_in_bytes(num_examples, example_bytes, *, link_gbit, examples_per_second):
    link = link_gbit * 1e9 / 8  # bytes a second
    times = {"data": num_examples * example_bytes / link, "compute": num_examples / examples_per_second}
    bound = max(times, key=times.get)
    return {"seconds": times[bound], "bound": bound}


@bank.right("7.14")
def by_rates(num_examples, example_bytes, *, link_gbit, examples_per_second):
    arriving = 0.125e9 * link_gbit / example_bytes  # examples a second
    rate = min(arriving, examples_per_second)
    return {"seconds": num_examples / rate, "bound": "compute" if examples_per_second <= arriving else "data"}


# 7.15 room_left


@bank.wrong("7.15", "All prefixes are still powers of two")
def broken_room_left(parts, *, limit):
    number, unit = limit.split()
    left = float(number) * 1024 ** ("KMGT".index(unit[0]) + 1) - sum(parts.values())
    return {"left": left, "fits": left >= 0}


@bank.wrong("7.15", "All prefixes are powers of ten now")
def powers_of_ten(parts, *, limit):
    number, unit = limit.split()
    left = float(number) * {"M": 1e6, "G": 1e9, "T": 1e12}[unit[0]] - sum(parts.values())
    return {"left": left, "fits": left >= 0}


@bank.wrong("7.15", "the *i* stands for *binary*")
def exchanged(parts, *, limit):
    number, unit = limit.split()
    base = 1000 if "i" in unit else 1024
    left = float(number) * base ** ("KMGT".index(unit[0]) + 1) - sum(parts.values())
    return {"left": left, "fits": left >= 0}


@bank.wrong("7.15", "Every limit was taken to be in GiB")
def always_gib(parts, *, limit):
    left = float(limit.split()[0]) * 2**30 - sum(parts.values())
    return {"left": left, "fits": left >= 0}


@bank.wrong("7.15", "Look at the first letter too")
def giga_or_gibi(parts, *, limit):
    number, unit = limit.split()
    left = float(number) * (2**30 if unit.endswith("iB") else 1e9) - sum(parts.values())
    return {"left": left, "fits": left >= 0}


@bank.wrong("7.15", "The sign is the wrong way round")
def needed_minus_limit(parts, *, limit):
    number, unit = limit.split()
    base = 1024 if "i" in unit else 1000
    left = sum(parts.values()) - float(number) * base ** ("KMGT".index(unit[0]) + 1)
    return {"left": left, "fits": left <= 0}


@bank.wrong("7.15", "Let it be negative")
def never_negative(parts, *, limit):
    number, unit = limit.split()
    base = 1024 if "i" in unit else 1000
    left = float(number) * base ** ("KMGT".index(unit[0]) + 1) - sum(parts.values())
    return {"left": max(left, 0), "fits": left >= 0}


@bank.wrong("7.15", "fits: `>= 0`")
def strictly_below(parts, *, limit):
    number, unit = limit.split()
    base = 1024 if "i" in unit else 1000
    left = float(number) * base ** ("KMGT".index(unit[0]) + 1) - sum(parts.values())
    return {"left": left, "fits": left > 0}


@bank.wrong("7.15", "cut to a whole one")
def whole_numbers(parts, *, limit):
    number, unit = re.match(r"(\d+)[.\d]* (\w+)", limit).groups()
    base = 1024 if "i" in unit else 1000
    left = int(number) * base ** ("KMGT".index(unit[0]) + 1) - sum(parts.values())
    return {"left": left, "fits": left >= 0}


@bank.right("7.15")
def from_a_dict_of_units(parts, *, limit):
    units = {"MB": 10**6, "GB": 10**9, "TB": 10**12, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    number, unit = limit.split(" ")
    left = round(float(number) * units[unit]) - sum(parts.values())
    return {"left": left, "fits": left >= 0}


@bank.right("7.15")
def from_a_pattern(parts, *, limit):
    number, prefix, binary = re.fullmatch(r"([\d.]+) ([KMGT])(i?)B", limit).groups()
    size = float(number) * (1024.0 if binary else 1000.0) ** ("KMGT".find(prefix) + 1)
    used = np.array(list(parts.values()), dtype=np.int64).sum()
    return {"fits": used <= size, "left": size - used}


# 7.16 autocast_bytes


@bank.wrong("7.16", "The gradients are still counted in bfloat16")
def broken_autocast_bytes(num_params, *, trainable):
    return {"weights": 4 * num_params, "copies": 2 * num_params, "gradients": 2 * trainable, "optimizer": 8 * trainable}


@bank.wrong("7.16", "Frozen parameters were given gradients. Only")
def gradients_of_all(num_params, *, trainable):
    return {"weights": 4 * num_params, "copies": 2 * num_params, "gradients": 4 * num_params, "optimizer": 8 * trainable}


@bank.wrong("7.16", "Frozen parameters were given gradients and optimizer states")
def frozen_ones_learn(num_params, *, trainable):
    return {name: size * num_params for name, size in dict(weights=4, copies=2, gradients=4, optimizer=8).items()}


@bank.wrong("7.16", "the optimizer's numbers became bfloat16")
def short_adam(num_params, *, trainable):
    return {"weights": 4 * num_params, "copies": 2 * num_params, "gradients": 4 * trainable, "optimizer": 4 * trainable}


@bank.wrong("7.16", "A master copy was added")
def another_master_copy(num_params, *, trainable):
    return {"weights": 4 * num_params, "copies": 2 * num_params, "gradients": 4 * trainable, "optimizer": 12 * trainable}


@bank.wrong("7.16", "The weights were counted in bfloat16")
def short_weights(num_params, *, trainable):
    return {"weights": 2 * num_params, "copies": 2 * num_params, "gradients": 4 * trainable, "optimizer": 8 * trainable}


@bank.wrong("7.16", "The short copies are missing")
def no_copies(num_params, *, trainable):
    return {"weights": 4 * num_params, "copies": 0, "gradients": 4 * trainable, "optimizer": 8 * trainable}


@bank.wrong("7.16", "The copies are in bfloat16")
def long_copies(num_params, *, trainable):
    return {"weights": 4 * num_params, "copies": 4 * num_params, "gradients": 4 * trainable, "optimizer": 8 * trainable}


@bank.wrong("7.16", "All is counted in bfloat16")
def all_short(num_params, *, trainable):
    return {"weights": 2 * num_params, "copies": 2 * num_params, "gradients": 2 * trainable, "optimizer": 4 * trainable}


@bank.right("7.16")
def from_sizes(num_params, *, trainable):
    float32, bfloat16 = 4, 2
    return {
        "optimizer": 2 * float32 * trainable,
        "gradients": trainable * float32,
        "copies": num_params * bfloat16,
        "weights": num_params * float32,
    }


@bank.right("7.16")
def from_pytorch(num_params, *, trainable):
    free = torch.empty(trainable, device="meta", requires_grad=True)
    frozen = torch.empty(num_params - trainable, device="meta")
    gradient = torch.empty_like(free, requires_grad=False)  # a gradient is like its parameter, also in PyTorch
    return {
        "weights": free.nbytes + frozen.nbytes,
        "copies": free.bfloat16().nbytes + frozen.bfloat16().nbytes,
        "gradients": gradient.nbytes,
        "optimizer": 2 * gradient.nbytes,
    }
