"""What a GPU would do with a PyTorch step into the same step on a CPU, or on shapes alone.

Three things differ between a trace on shapes and a step on an NVIDIA card, and each changes what is saved for the backward
pass: dropout keeps a mask of one byte an element, fused attention never makes the (T, T) matrix, and autocast picks the
precision operation by operation.
"""

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

PRECISIONS = ("fp32", "mixed-bf16", "mixed-fp16", "bf16", "fp8")
# The two lists of torch.autocast for CUDA, as far as the layers of this course use them
# (https://docs.pytorch.org/docs/stable/amp.html, section "CUDA Op-Specific Behavior").
LOW = {
    F.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.mm, torch.bmm, torch.addmm, torch.baddbmm,
    F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d, F.scaled_dot_product_attention,
}  # fmt: skip
FULL = {
    F.layer_norm, F.group_norm, F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, F.cross_entropy, F.nll_loss,
    F.mse_loss, torch.Tensor.softmax, torch.Tensor.log_softmax, torch.Tensor.pow, torch.pow, torch.exp, torch.log,
}  # fmt: skip


class AsOnGPU(TorchFunctionMode):
    """Runs dropout and fused attention as CUDA does, and autocast's casts if `low` names a precision.

    A weight is cast once and the copy kept until the block is left, as autocast does.
    """

    def __init__(self, *, low: torch.dtype | None = None):
        super().__init__()
        self.low, self.copies, self.inside = low, {}, False

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if self.low is not None and not self.inside:
            if function in LOW:
                args, kwargs = self.cast(args, self.low), {k: self.cast(v, self.low) for k, v in kwargs.items()}
            elif function in FULL:
                args, kwargs = self.cast(args, torch.float32), {k: self.cast(v, torch.float32) for k, v in kwargs.items()}
                self.inside = True
                try:
                    return function(*args, **kwargs)
                finally:
                    self.inside = False
        if function is F.dropout:
            return gpu_dropout(*args, **kwargs)
        if function is F.scaled_dot_product_attention and kwargs.get("attn_mask") is None and len(args) <= 3:
            return gpu_attention(*args, **kwargs)
        return function(*args, **kwargs)

    def cast(self, value, dtype: torch.dtype):
        if isinstance(value, tuple | list):
            return type(value)(self.cast(item, dtype) for item in value)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point() or value.dtype == dtype:
            return value
        if not (value.is_leaf and value.requires_grad):
            return value.to(dtype)
        if id(value) not in self.copies:
            self.copies[id(value)] = value.to(dtype)
        return self.copies[id(value)]

    def __exit__(self, *error) -> None:
        self.copies.clear()
        super().__exit__(*error)


def gpu_dropout(x, p: float = 0.5, training: bool = True, inplace: bool = False):
    return torch.native_dropout(x, p, training)[0] if training and p else x


def gpu_attention(q, k, v, dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None, **_):
    if not q.is_meta:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p, is_causal=is_causal, scale=scale)
    return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, dropout_p, is_causal, scale=scale)[0]
