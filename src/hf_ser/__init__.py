"""Fine-tune speech encoders to recognise emotion: honest splits, small adapters, cards worth reading.

from hf_ser import finetune, load

result = finetune("superb/hubert-large-superb-er", "corpora", recipe="lora_qkv", output_dir="out")
result.report["uar"]
load("out")("clip.wav")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_ser._version import __version__

if TYPE_CHECKING:
    from hf_ser.audio.augment import Augmentation
    from hf_ser.dataset.build import build_dataset
    from hf_ser.errors import InputError
    from hf_ser.hub.metric_space import push_metric
    from hf_ser.hub.publish import publish_dataset
    from hf_ser.hub.push import push_to_hub
    from hf_ser.inference.classifier import Classifier, load
    from hf_ser.labels import EMOTIONS
    from hf_ser.models.recipes import RECIPES, Recipe, recipe
    from hf_ser.models.summary import summarize
    from hf_ser.training.arguments import training_arguments
    from hf_ser.training.finetune import FinetuneResult, finetune

_HOMES = {
    "Augmentation": "hf_ser.audio.augment",
    "Classifier": "hf_ser.inference.classifier",
    "EMOTIONS": "hf_ser.labels",
    "FinetuneResult": "hf_ser.training.finetune",
    "InputError": "hf_ser.errors",
    "RECIPES": "hf_ser.models.recipes",
    "Recipe": "hf_ser.models.recipes",
    "build_dataset": "hf_ser.dataset.build",
    "finetune": "hf_ser.training.finetune",
    "load": "hf_ser.inference.classifier",
    "publish_dataset": "hf_ser.hub.publish",
    "push_metric": "hf_ser.hub.metric_space",
    "push_to_hub": "hf_ser.hub.push",
    "recipe": "hf_ser.models.recipes",
    "summarize": "hf_ser.models.summary",
    "training_arguments": "hf_ser.training.arguments",
}

__all__ = [
    "EMOTIONS",
    "RECIPES",
    "Augmentation",
    "Classifier",
    "FinetuneResult",
    "InputError",
    "Recipe",
    "__version__",
    "build_dataset",
    "finetune",
    "load",
    "publish_dataset",
    "push_metric",
    "push_to_hub",
    "recipe",
    "summarize",
    "training_arguments",
]


def __getattr__(name: str) -> Any:
    # Imports wait until a name is used (PEP 562): torch alone takes seconds.
    if name not in _HOMES:
        raise AttributeError(f"module 'hf_ser' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
