"""Checks before hours of training or gigabytes of upload: whether a push will be accepted."""

import contextlib

from hf_ser.errors import InputError, hub_errors, persistent
from hf_ser.hub.blocks import combine
from hf_ser.hub.commits import open_hub, read_card


def check_access(repo_id: str, *, create_pr: bool = False, token: str | None = None) -> None:
    """Check that a model can be pushed to a repository, or that the repository can be created.

    With `create_pr`, the push will be a pull request, which needs no rights on the repository.
    """
    from huggingface_hub.errors import RemoteEntryNotFoundError

    api = open_hub(repo_id, token)
    subject = f"nothing was pushed to '{repo_id}'"
    with hub_errors(subject):
        account = persistent(api.whoami)
        exists = persistent(lambda: api.repo_exists(repo_id))
        # A card that cannot be read would stop the push at its end.
        with contextlib.suppress(RemoteEntryNotFoundError):
            combine("", read_card(api, repo_id) if exists else None)
    if ((account.get("auth") or {}).get("accessToken") or {}).get("role") == "read":
        raise InputError(f"{subject}: the token is read-only; create one with the role write")
    mine = [account["name"], *(group["name"] for group in account.get("orgs") or () if group.get("name"))]
    if repo_id.partition("/")[0] not in mine and not (create_pr and exists):
        state = "belongs to another account" if exists else "does not exist, or is private to others"
        way_out = ", or open a pull request with create_pr (--create-pr)" if exists and not create_pr else ""
        raise InputError(f"{subject}: the repository {state}; push to one of {', '.join(mine)}{way_out}")


def base_on_hub(base_model: str, token: str | None = None) -> tuple[str, str]:
    """Return the Hub id and the newest commit of a base model."""
    from huggingface_hub import HfApi

    with hub_errors(f"base model '{base_model}'"):
        return base_model, str(persistent(lambda: HfApi(token=token).model_info(base_model)).sha)
