"""The public names, for type checkers and editors; `__init__.py` imports each when it is used."""

from hf_ser.audio.augment import Augmentation as Augmentation
from hf_ser.corpora import register_corpus as register_corpus
from hf_ser.dataset.build import build_dataset as build_dataset
from hf_ser.dataset.check import check_dataset as check_dataset
from hf_ser.dataset.source import open_dataset as open_dataset
from hf_ser.errors import HubError as HubError
from hf_ser.errors import InputError as InputError
from hf_ser.evaluation.compare import compare as compare
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
from hf_ser.training.protocols import benchmark as benchmark

__version__: str
