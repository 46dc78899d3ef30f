"""Whether a push will be let in: found out before hours of training, not after."""

from hf_ser.errors import InputError
from hf_ser.hub.card_merge import merge_card
from hf_ser.hub.commits import CARD
from hf_ser.hub.repository import HubRepository, open_hub, refusals
from hf_ser.remote import hub_reason, persistent

__all__ = ["base_on_hub", "check_access"]


def check_access(repo_id: str, *, create_pr: bool = False, token: str | None = None) -> None:
    """Check that a repository may be pushed to, or be made.

    Args:
        repo_id: `USER/NAME`.
        create_pr: Whether the push is a pull request, which needs no rights on the repository.
        token: Of the Hub; None takes the one that is logged in.

    Raises:
        InputError: It may not, or the Hub cannot be asked.

    Example:
        >>> check_access("no name")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: repo_id 'no name' is no repository on the Hub; give USER/NAME
    """
    api = open_hub(repo_id, token)
    with refusals(repo_id):
        account = persistent(api.whoami)
        exists = persistent(lambda: api.repo_exists(repo_id))
        if exists:
            _read_card(HubRepository(api, repo_id, "model", None, create_pr))
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        raise InputError(f"nothing was pushed to '{repo_id}': the token may only read; make one with the role write")
    mine = [account["name"], *(group["name"] for group in account.get("orgs") or () if group.get("name"))]
    namespace = repo_id.partition("/")[0]
    if namespace not in mine and not (create_pr and exists):
        state = "belongs to another account" if exists else "is not there, or is private to others"
        raise InputError(
            f"nothing was pushed to '{repo_id}': the repository {state}; push to one of {', '.join(mine)}"
            + ("" if create_pr or not exists else ", or propose a pull request by create_pr (--create-pr)")
        )


def _read_card(repository: HubRepository) -> None:
    """Read what a push will merge: better that it fails now."""
    head = repository.head()
    there = repository.tree(head)
    if CARD in there:
        merge_card("", repository.text(there[CARD], head), None)


def base_on_hub(base_model: str, token: str | None = None) -> tuple[str, str]:
    """Return the Hub id and the newest commit of a base model.

    Raises:
        InputError: There is no such model for this token.
    """
    from huggingface_hub import HfApi

    from hf_ser.remote import connection_error

    try:
        info = persistent(lambda: HfApi(token=token).model_info(base_model))
    except (connection_error(), OSError, ValueError) as error:
        raise InputError(f"base model '{base_model}': {hub_reason(error)}") from error
    return base_model, str(info.sha)
