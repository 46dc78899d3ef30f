"""What a result depends on beside data and model: the versions of the libraries, and the machine."""

import platform
import resource
import sys
from importlib import metadata
from typing import Any

from hf_ser import __version__


def versions() -> dict[str, str]:
    """Return the versions of this library, Python and the packages that influence results.

    Example:
        >>> versions()["hf_ser"] == __version__
        True
    """
    packages = ("accelerate", "audiomentations", "datasets", "evaluate", "huggingface_hub", "numpy", "peft",
                "scikit-learn", "soundfile", "soxr", "torch", "transformers")  # fmt: skip
    found = {name: metadata.version(name) for name in packages}
    return {"hf_ser": __version__, "python": platform.python_version(), **found}


def hardware() -> dict[str, Any]:
    """Return the platform, and the numbers of threads, processes and accelerators."""
    import torch
    from accelerate import PartialState

    found: dict[str, Any] = {
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "processes": PartialState().num_processes,
    }
    if torch.cuda.is_available():
        found |= {"accelerator": torch.cuda.get_device_name(), "accelerators": torch.cuda.device_count()}
    return found


def peak_memory_bytes() -> dict[str, int]:
    """Return the peak memory of this process: resident on the host, allocated on the device."""
    import torch

    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    device = {"device": torch.cuda.max_memory_allocated()} if torch.cuda.is_available() else {}
    return {"host": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, **device}
