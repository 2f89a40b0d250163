"""The environments of local processes that find each other, as on several hosts."""

import os
import socket


def environments(count: int, **variables: str) -> list[dict[str, str]]:
    """One for each of `count` processes, with a coordinator at a free port."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    shared = {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": str(count),
        **variables,
    }
    return [
        os.environ | shared | {"JAX_PROCESS_ID": str(index)} for index in range(count)
    ]
