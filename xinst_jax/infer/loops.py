"""How programs with loops are compiled."""

LOOPS_ON_DEVICE: dict[str, str | bool | int | float] = {
    "xla_gpu_enable_command_buffer": (
        "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,"
        "CONDITIONAL,WHILE"
    )
}
"""Compiler options by which a GPU decides itself whether a loop goes on: XLA's own
choice, and with it branches and loops, as nodes of a CUDA graph. Without them the host
launches every turn and waits for its condition, and can put nothing in line behind a
loop. A chip of another kind leaves them unread."""
