"""What every benchmark here says of the machine, and how it sums up paired runs."""

import ctypes
import os
import platform
import time
from importlib import metadata
from pathlib import Path
from statistics import median

import torch


def describe() -> str:
    """The processor, its cores, the load and the versions, on one line."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), processor)
    accelerator = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    names = ("torch", "transformers", "peft", "datasets", "numpy")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return (
        f"{processor}, {os.cpu_count()} cores, {torch.get_num_threads()} threads{accelerator}; "
        f"load {os.getloadavg()[0]:.1f} at the start; Python {platform.python_version()}, {versions}"
    )


def matmul_rate(size: int = 1536, seconds: float = 2.0) -> float:
    """The most floating-point operations a second that a float32 matrix product reached, all threads at work."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    best, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def spread(values: list[float]) -> str:
    """Median, least and most."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def line_through(amounts: list[float], values: list[float]) -> tuple[float, float, float]:
    """Intercept, slope and largest relative distance of the least-squares line."""
    import numpy as np

    slope, intercept = np.polyfit(amounts, values, 1)
    distances = [abs(intercept + slope * x - y) / y for x, y in zip(amounts, values, strict=True)]
    return float(intercept), float(slope), max(distances)


def reset_peak_memory() -> None:
    """Give back what was freed, and count `peak_memory` from here."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    elif Path("/proc/self/clear_refs").exists():
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float:
    """The most memory since `reset_peak_memory`, in MiB: on the device, or of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
