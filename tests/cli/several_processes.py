"""Commands in several processes that work together, as torchrun starts them."""

import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from commands import run


def run_together(
    count: int, command: str, *arguments: object, cwd: Path
) -> list[subprocess.CompletedProcess]:
    """Runs a command in `count` processes; returns what became of them, by rank.

    Where one leaves a word for torchrun, that is in `error_RANK.json`.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
    }

    def one(rank: int) -> subprocess.CompletedProcess:
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        own["TORCHELASTIC_ERROR_FILE"] = str(cwd / f"error_{rank}.json")
        return run(command, *arguments, cwd=cwd, **environment, **own)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
