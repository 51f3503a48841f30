"""What people use today, rebuilt from its documentation: dynamic padding, bfloat16 where the hardware has it."""

__all__: list[str] = []
