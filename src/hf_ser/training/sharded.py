"""Training of a model whose weights, gradients and optimiser are spread over the processes (FSDP).

What is saved is what a run without sharding saves. The first process keeps a whole copy of the model on its host;
for every save the shards are gathered into it, and what is read from a checkpoint is sent out from it.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from hf_ser import processes
from hf_ser.errors import InputError
from hf_ser.models.checkpoint import load_weights, save_model
from hf_ser.models.encoders import architecture_of
from hf_ser.models.head import plain_model, statistics_of
from hf_ser.training.state import OPTIMIZER_STATE, TRAINING_STATE
from hf_ser.training.state_file import read_state, write_state
from hf_ser.training.trainer import EmotionTrainer

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from hf_ser.models.recipes import Recipe

__all__ = ["ShardedTrainer", "require_shardable"]


def require_shardable(arguments: TrainingArguments, chosen: Recipe) -> bool:
    """Return whether the arguments ask for FSDP, after refusing what would not do what it says.

    Args:
        arguments: Training arguments.
        chosen: The recipe.

    Raises:
        InputError: FSDP is asked for where it would be left out in silence or has nothing to shard, or in a form
            that writes other files than this job reads.
    """
    if not arguments.fsdp:
        return False
    from accelerate.utils import DistributedType

    state = arguments.distributed_state
    if state is None or state.num_processes == 1:
        raise InputError("args.fsdp spreads a model over processes, and there is one; start several by torchrun")
    if state.distributed_type == DistributedType.MULTI_CPU:
        raise InputError("args.fsdp is for GPUs: on the CPU it would be left out in silence; leave it off with use_cpu")
    if chosen.encoder_is_frozen:
        raise InputError(
            f"args.fsdp: recipe '{chosen.name}' trains the head alone, so there is nothing to spread; leave it off"
        )
    plugin = arguments.fsdp_plugin_args or {}
    if plugin.get("fsdp_version", 2) != 2:
        raise InputError("args.fsdp_config asks for version 1 of FSDP, which transformers gives up; leave version out")
    if plugin.get("state_dict_type", "FULL_STATE_DICT") != "FULL_STATE_DICT":
        raise InputError(
            f"args.fsdp_config.state_dict_type is {plugin['state_dict_type']}; checkpoints are whole here, so that "
            "any number of processes reads them: leave it out"
        )
    if plugin.get("cpu_ram_efficient_loading"):
        raise InputError(
            "args.fsdp_config.cpu_ram_efficient_loading opens an empty model in all processes but one, whose head "
            "could not be started; leave it off"
        )
    return True


class ShardedTrainer(EmotionTrainer):
    """An `EmotionTrainer` under FSDP, with plain checkpoints all the same."""

    def __init__(self, **options: Any) -> None:
        model, arguments = options["model"], options["args"]
        plugin = dict(arguments.fsdp_plugin_args)
        # transformers names the layers of another variant of the encoder too, and then finds none of it.
        plugin.setdefault("transformer_cls_names_to_wrap", layer_class(model))
        arguments.fsdp_plugin_args = plugin
        # Before any shard is cut. Only the first process pays for it.
        self._whole = copy.deepcopy(model).cpu() if processes.is_first() else None
        super().__init__(**options)

    def _prepare_for_training(self, *arguments: Any, **options: Any) -> Any:
        with _without_a_language_models_ends(plain_model(self.model)):
            return super()._prepare_for_training(*arguments, **options)

    @property
    def emotion_model(self) -> Any:
        """The model: as it trains, in shards."""
        return self.accelerator.unwrap_model(self.model)

    def whole_model(self) -> Any:
        """Return the model in the first process, with the weights of now, and None in the others."""
        weights = gathered_weights(self.emotion_model)
        if self._whole is not None:
            self._whole.load_state_dict(weights)
        return self._whole

    @property
    def saved_model(self) -> Any:
        """The whole model as the last save left it, in the first process."""
        return self._whole

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the whole model from the first process."""
        model = self.whole_model()
        if model is not None:
            save_model(model, output_dir or str(self.args.output_dir), self.processing_class, resumable=True)

    def _load(self, checkpoint: Path) -> None:
        with processes.together():
            if self._whole is not None:
                load_weights(self._whole, checkpoint)
        spread_weights(self.emotion_model, self._whole)
        statistics = statistics_of(self.emotion_model)
        if statistics is not None:
            if self._whole is not None:
                read = statistics_of(self._whole)
                assert read is not None
                statistics.mean.copy_(read.mean)
                statistics.std.copy_(read.std)
            processes.from_first([statistics.mean, statistics.std])

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        optimizer = get_optimizer_state_dict(self.emotion_model, self._plain_optimizer, options=options)
        if processes.is_first():
            folder = Path(output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            state = {
                "devices": processes.count(),
                "optimizer": optimizer,
                "scheduler": self.lr_scheduler.state_dict(),
                "scaler": None if self._scaler is None else self._scaler.state_dict(),
            }
            write_state(state, folder / TRAINING_STATE, folder / OPTIMIZER_STATE)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

        with processes.together():
            try:
                state = read_state(Path(checkpoint) / TRAINING_STATE, Path(checkpoint) / OPTIMIZER_STATE)
            except (OSError, ValueError) as error:
                raise InputError(
                    f"checkpoint {checkpoint} holds no whole state of a sharded training; start again (--overwrite)"
                ) from error
            if state["devices"] != processes.count():
                raise InputError(
                    f"checkpoint {checkpoint} is of a run on {state['devices']} processes, now there are "
                    f"{processes.count()}; go on with as many, or start again (--overwrite)"
                )
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        set_optimizer_state_dict(self.emotion_model, self._plain_optimizer, state["optimizer"], options=options)
        self.lr_scheduler.load_state_dict(state["scheduler"])
        if self._scaler is not None and state["scaler"] is not None:
            self._scaler.load_state_dict(state["scaler"])

    @property
    def _plain_optimizer(self) -> Any:
        return getattr(self.optimizer, "optimizer", self.optimizer)

    @property
    def _scaler(self) -> Any:
        return getattr(self.accelerator, "scaler", None)


@contextlib.contextmanager
def _without_a_language_models_ends(base: Any) -> Iterator[None]:
    """Keep accelerate from looking for token embeddings and a last norm, which it shards on their own.

    Speech encoders have none: asked for embeddings they raise, and for the norm accelerate takes a whole
    `HubertEncoderStableLayerNorm` by its name.
    """
    base.get_input_embeddings = lambda: None
    base.base_model_prefix = ""
    try:
        yield
    finally:
        del base.get_input_embeddings, base.base_model_prefix


def layer_class(model: Any) -> str:
    """Return the class of the encoder's layers, each of which is gathered and let go on its own."""
    base = plain_model(model)
    return type(base.get_submodule(architecture_of(base.config).layers)[0]).__name__


def gathered_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the whole weights of a sharded model on the first process's host, and nothing on the others."""
    from torch.distributed.tensor import DTensor

    found = {}
    for name, tensor in model.state_dict().items():
        # One at a time: no process ever holds the whole model on its device.
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if processes.is_first():
            found[name] = whole.detach().cpu().clone()
    return found


@torch.no_grad()
def spread_weights(model: Any, whole: Any) -> None:
    """Give every process its shard of the first one's whole model.

    Args:
        model: The sharded model.
        whole: The whole model in the first process, None in the others.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    weights = whole.state_dict() if whole is not None else {}
    for name, tensor in model.state_dict().items():
        full = torch.empty(tensor.shape, dtype=tensor.dtype, device=_device_of(tensor))
        if name in weights:
            full.copy_(weights[name])
        processes.from_first([full])
        if isinstance(tensor, DTensor):
            # The shard is cut here: every process has the whole tensor for a moment.
            part = distribute_tensor(full, tensor.device_mesh, tensor.placements, src_data_rank=None)
            tensor.to_local().copy_(part.to_local())
        else:
            tensor.copy_(full)


def _device_of(tensor: Any) -> torch.device:
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    device: torch.device = local.device
    return device
