"""The one error that a user's input can cause."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Input that cannot be used: the message is one line that names it and says the way out.

    The command line prints the message on stderr and exits with code 2; `--debug` shows the traceback.

    Example:
        >>> raise InputError("recipe 'lora_kqv' is unknown; choose full, lora_qkv or lora_classifier")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: recipe 'lora_kqv' is unknown; choose full, lora_qkv or lora_classifier
    """

    def __init__(self, message: str = "") -> None:
        # A worker process of a loader hands an error on with its traceback written into the message.
        if message.startswith("Caught InputError in DataLoader worker"):
            message = message.rpartition("InputError: ")[2].strip()
        super().__init__(message)
