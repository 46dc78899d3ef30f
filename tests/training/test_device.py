"""What must not change the device of a process: all of it shares one `PartialState`."""

from accelerate import PartialState

from hf_ser.training.arguments import for_this_job, training_arguments
from hf_ser.training.records import recorded_arguments


def test_recording_the_arguments_leaves_the_device_as_it_is(tmp_path):
    from hf_ser.models.recipes import recipe

    for on_processor in (False, True):
        made = training_arguments("lora_qkv", tmp_path, use_cpu=on_processor)
        arguments = for_this_job(made, recipe("lora_qkv"), tmp_path / "checkpoints")
        assert arguments.device is not None
        before = PartialState()._cpu
        recorded_arguments(arguments)
        assert PartialState()._cpu == before == on_processor
