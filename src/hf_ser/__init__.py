"""Fine-tune speech encoders to recognise emotion, evaluate them on unseen speakers, and publish them."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# fmt: off
_HOMES = {
    "audio.augment": "Augmentation", "corpora": "register_corpus", "dataset.build": "build_dataset",
    "dataset.check": "check_dataset", "dataset.source": "open_dataset", "errors": "HubError InputError",
    "evaluation.compare": "compare", "evaluation.evaluate": "Evaluation evaluate",
    "hub.metric_space": "push_metric", "hub.publish": "publish_dataset", "hub.push": "push_to_hub",
    "inference.classifier": "Classifier load", "labels": "EMOTIONS",
    "models.recipes": "RECIPES Recipe recipe register_recipe", "models.summary": "summarize",
    "training.arguments": "training_arguments", "training.finetune": "FinetuneResult finetune",
    "training.protocols": "benchmark",
}
# fmt: on
_HOME = {name: f"hf_ser.{home}" for home, names in _HOMES.items() for name in names.split()}

__all__ = sorted(["__version__", *_HOME])


def __getattr__(name: str) -> Any:
    # Imports wait until a name is used (PEP 562): torch alone takes seconds.
    if name not in _HOME:
        raise AttributeError(f"module 'hf_ser' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOME[name]), name)
    return value


def __dir__() -> list[str]:
    return __all__
