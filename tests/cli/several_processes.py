"""Commands in several processes that work together, as torchrun starts them."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch.distributed as dist
from commands import run


def run_together(
    count: int, command: str, *arguments: object, cwd: Path
) -> list[subprocess.CompletedProcess]:
    """Runs a command in `count` processes; returns what became of them, by rank.

    Where one leaves a word for torchrun, that is in `error_RANK.json`.
    """
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    environment = {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
        "WORLD_SIZE": str(count),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # all of them are clients of `store`
    }

    def one(rank: int) -> subprocess.CompletedProcess:
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        own["TORCHELASTIC_ERROR_FILE"] = str(cwd / f"error_{rank}.json")
        return run(command, *arguments, cwd=cwd, **environment, **own)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))
