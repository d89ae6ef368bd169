"""A trace of some training steps, and a table of what took longest in them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from gs_densify.results import atomic_write
from gs_densify.training.trainer import Trainer

TRACE = "trace.json.gz"
TABLE = "table.txt"
ROWS = 60


@contextmanager
def profiled(trainer: Trainer, folder: Path) -> Iterator[None]:
    """Writes TRACE and TABLE of what the trainer does inside into `folder`.

    The parts of a step (data, render, loss, ...) stand in both under their names. The table is by
    time on the GPU first where there is one, then by time on the CPU. A step that is traced takes
    longer, and its time counts as training.
    """
    on_gpu = torch.cuda.is_available() and trainer.splats["means"].is_cuda
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]
    before, trainer.section = trainer.section, record_function
    try:
        with profile(activities=activities, acc_events=True) as trace:
            yield
    finally:
        trainer.section = before
    folder.mkdir(parents=True, exist_ok=True)
    trace.export_chrome_trace(str(folder / TRACE))
    orders = ["self_device_time_total"] * on_gpu + ["self_cpu_time_total"]
    averages = trace.key_averages()
    tables = [
        averages.table(sort_by=order, row_limit=ROWS, max_name_column_width=60) for order in orders
    ]
    text = "\n\n".join(tables)
    with atomic_write(folder / TABLE) as file:
        file.write(text.encode())
