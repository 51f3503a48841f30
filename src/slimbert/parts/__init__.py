"""The parts of encoders, one idea per file. Importing this package registers every kind."""

from . import attention, convolution, embedding, mixed, mlp, narrow, norm, position, residual

__all__ = ["attention", "convolution", "embedding", "mixed", "mlp", "narrow", "norm", "position", "residual"]
