"""Fine-tune speech encoders to recognise emotion, evaluate them on unseen speakers, and publish them.

Example: `finetune("superb/hubert-large-superb-er", "corpora", output_dir="out")`, then `load("out")("clip.wav")`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hf_ser._version import __version__ as __version__

if TYPE_CHECKING:
    from hf_ser.audio.augment import Augmentation as Augmentation
    from hf_ser.corpora import register_corpus as register_corpus
    from hf_ser.dataset.build import build_dataset as build_dataset
    from hf_ser.dataset.source import open_dataset as open_dataset
    from hf_ser.errors import HubError as HubError
    from hf_ser.errors import InputError as InputError
    from hf_ser.evaluation.evaluate import Evaluation as Evaluation
    from hf_ser.evaluation.evaluate import evaluate as evaluate
    from hf_ser.hub.metric_space import push_metric as push_metric
    from hf_ser.hub.publish import publish_dataset as publish_dataset
    from hf_ser.hub.push import push_to_hub as push_to_hub
    from hf_ser.inference.classifier import Classifier as Classifier
    from hf_ser.inference.classifier import load as load
    from hf_ser.labels import EMOTIONS as EMOTIONS
    from hf_ser.models.recipes import RECIPES as RECIPES
    from hf_ser.models.recipes import Recipe as Recipe
    from hf_ser.models.recipes import recipe as recipe
    from hf_ser.models.recipes import register_recipe as register_recipe
    from hf_ser.models.summary import summarize as summarize
    from hf_ser.training.arguments import training_arguments as training_arguments
    from hf_ser.training.finetune import FinetuneResult as FinetuneResult
    from hf_ser.training.finetune import finetune as finetune

# fmt: off
_HOMES = {
    "audio.augment": "Augmentation", "corpora": "register_corpus", "dataset.build": "build_dataset",
    "dataset.source": "open_dataset", "errors": "HubError InputError", "evaluation.evaluate": "Evaluation evaluate",
    "hub.metric_space": "push_metric", "hub.publish": "publish_dataset", "hub.push": "push_to_hub",
    "inference.classifier": "Classifier load", "labels": "EMOTIONS",
    "models.recipes": "RECIPES Recipe recipe register_recipe", "models.summary": "summarize",
    "training.arguments": "training_arguments", "training.finetune": "FinetuneResult finetune",
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
