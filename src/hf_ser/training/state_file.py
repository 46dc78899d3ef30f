"""Plain values and tensors, nested as they come, as one JSON file and one safetensors file; read back exactly."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import torch

__all__ = ["Unwritable", "read_state", "require_writable", "write_state"]

# What JSON has no word for stands as an object with one of these names alone in it.
_TENSOR, _TUPLE, _ITEMS, _FLOAT = "$tensor", "$tuple", "$items", "$float"
_MARKS: Final = {_TENSOR, _TUPLE, _ITEMS, _FLOAT}


class Unwritable(TypeError):
    """A value is neither a tensor nor a plain number, text, list, tuple or dictionary of these."""


def write_state(state: Any, json_file: Path, tensors_file: Path) -> None:
    """Write a nested state; the tensors file is left out where there is no tensor.

    Args:
        state: None, booleans, numbers, texts and dense tensors, in dictionaries, lists and tuples.
        json_file: Takes everything but the tensors, and is written whole or not at all, after them.
        tensors_file: Takes the tensors, each under its path in the state.

    Raises:
        Unwritable: The state holds something else.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> state = {"step": {0: torch.tensor(3.0)}, "betas": (0.9, 0.999), "best": float("-inf")}
        >>> write_state(state, folder / "state.json", folder / "state.safetensors")
        >>> read_state(folder / "state.json", folder / "state.safetensors")
        {'step': {0: tensor(3.)}, 'betas': (0.9, 0.999), 'best': -inf}
    """
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    plain = _encode(state, "", tensors)
    if tensors:
        save_file(tensors, str(tensors_file))
    partial = json_file.with_name(json_file.name + ".partial")
    partial.write_text(json.dumps(plain, allow_nan=False), encoding="utf-8")
    partial.replace(json_file)


def read_state(json_file: Path, tensors_file: Path) -> Any:
    """Return what `write_state` wrote, its tensors on the CPU.

    Raises:
        OSError: A file is missing.
        ValueError: The files are not of `write_state`, or not of one another.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    plain = json.loads(json_file.read_text(encoding="utf-8"))
    try:
        tensors = load_file(str(tensors_file)) if tensors_file.is_file() else {}
        return _decode(plain, tensors)
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{json_file.name} and {tensors_file.name} are no state: {error}") from error


def require_writable(state: Any) -> None:
    """Refuse a state that `write_state` could not write.

    Raises:
        Unwritable: It holds something else than plain values and dense tensors.

    Example:
        >>> require_writable({"last": [object()]})
        Traceback (most recent call last):
        ...
        hf_ser.training.state_file.Unwritable: last.0 is a builtins.object
    """
    _encode(state, "", {})


def _encode(value: Any, path: str, tensors: dict[str, torch.Tensor]) -> Any:
    if value is None or isinstance(value, bool) or type(value) is int or type(value) is str:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {_FLOAT: repr(float(value))}
    if isinstance(value, torch.Tensor):
        # A subclass (a quantised or a sharded tensor) is more than its values.
        if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.layout != torch.strided:
            raise Unwritable(f"{path} is a {_name(value)}")
        tensors[path] = _own(value, tensors)
        return {_TENSOR: path}
    if type(value) is list:
        return [_encode(item, _below(path, index), tensors) for index, item in enumerate(value)]
    if type(value) is tuple:
        return {_TUPLE: [_encode(item, _below(path, index), tensors) for index, item in enumerate(value)]}
    if isinstance(value, dict):
        encoded = [[_encode(key, path, {}), _encode(item, _below(path, key), tensors)] for key, item in value.items()]
        if all(type(key) is str for key in value) and not (len(value) == 1 and _MARKS & set(value)):
            return dict(encoded)
        return {_ITEMS: encoded}
    raise Unwritable(f"{path} is a {_name(value)}")


def _below(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)


def _own(value: torch.Tensor, others: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the tensor on the CPU; copied where it shares memory, which safetensors refuses."""
    tensor = value.detach().cpu().contiguous()
    storage = tensor.untyped_storage()
    shared = any(storage.data_ptr() == other.untyped_storage().data_ptr() for other in others.values())
    return tensor.clone() if shared or storage.nbytes() != tensor.nbytes else tensor


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _decode(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and _MARKS & set(value):
        ((mark, content),) = value.items()
        if mark == _TENSOR:
            return tensors[content]
        if mark == _FLOAT:
            return float(content)
        if mark == _TUPLE:
            return tuple(_decode(item, tensors) for item in content)
        return {_decode(key, tensors): _decode(item, tensors) for key, item in content}
    return {key: _decode(item, tensors) for key, item in value.items()}
