"""A metric of this library as a Space, which `evaluate.load` loads and whose page computes it."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Final

from hf_ser.errors import InputError
from hf_ser.evaluation.metrics import require_metric

if TYPE_CHECKING:
    from hf_ser.hub.commits import Pushed

__all__ = ["metric_space_files", "push_metric"]

_GRADIO: Final = "6.31.0"
# A release that the page was tested with: a Space without one uses the newest.
_FRONT_MATTER: Final = f"\nsdk: gradio\nsdk_version: {_GRADIO}\napp_file: app.py\n"
_REPO_ID: Final = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")


def push_metric(
    name: str,
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
) -> Pushed:
    """Push a metric as a Space that `evaluate.load(repo_id)` loads, as one commit.

    The Space holds the metric's module, which does not need this library, its card, and a page that shows the card
    and computes the metric from pasted numbers. What people wrote into the card is kept.

    Args:
        name: One of `hf_ser.evaluation.metrics.METRICS`.
        repo_id: `USER/NAME`; the Space is created if it does not exist.
        private: Whether a new Space is private; then `evaluate.load` needs a token that may read it.
        revision: Branch to commit to, created if it does not exist; None is the main branch.
        create_pr: Open a pull request instead.
        token: Hub token; None uses the one that is logged in.

    Returns:
        The commit, or that none was needed.

    Raises:
        InputError: There is no such metric, or `evaluate` could not load a Space of that name.
        HubError: The Hub refuses or cannot be reached.

    Example:
        >>> push_metric("eer", "me/my.eer")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: 'me/my.eer' cannot hold a metric: evaluate imports it by its name; give USER/NAME ...
    """
    from hf_ser.hub.commits import push_files

    return push_files(
        repo_id,
        metric_space_files(name, repo_id),
        repo_type="space",
        message=f"Write the metric {name}",
        private=private,
        revision=revision,
        create_pr=create_pr,
        token=token,
        space_sdk="gradio",
    )


def metric_space_files(name: str, repo_id: str) -> dict[str, bytes]:
    """Return the files of a metric's Space by their paths.

    Args:
        name: One of `hf_ser.evaluation.metrics.METRICS`.
        repo_id: `USER/NAME`; `evaluate` looks for a module of the repository's name.

    Raises:
        InputError: There is no such metric, or `evaluate` could not load a Space of that name.

    Example:
        >>> {"README.md", "app.py", "my_eer.py", "requirements.txt"} <= set(metric_space_files("eer", "me/my_eer"))
        True
    """
    require_metric(name)
    if not _REPO_ID.fullmatch(repo_id):
        raise InputError(
            f"'{repo_id}' cannot hold a metric: evaluate imports it by its name; give USER/NAME of letters, digits, _ "
            "and -, without a dot"
        )
    module = repo_id.partition("/")[2]
    if module.casefold() == "app":
        raise InputError(f"'{repo_id}' cannot hold a metric: app.py is the Space's page; give another name")
    folder = resources.files("hf_ser.evaluation.metrics").joinpath(name)
    templates = resources.files("hf_ser").joinpath("templates", "metric_space")
    page = templates.joinpath("app.py.jinja").read_text(encoding="utf-8")
    return {
        "README.md": _card(folder.joinpath("README.md").read_text(encoding="utf-8"), name, repo_id).encode(),
        "app.py": page.replace("{{ module }}", module).encode(),
        f"{module}.py": folder.joinpath(f"{name}.py").read_bytes(),
        "requirements.txt": templates.joinpath("requirements.txt").read_bytes(),
    }


def _card(text: str, name: str, repo_id: str) -> str:
    """Return the metric's card for its Space: its code loads the Space, and it has no links to other metrics."""
    text = text.replace("\nsdk: gradio\n", _FRONT_MATTER, 1)
    text = text.replace(f'evaluate.load("./{name}")  # this folder; needs no network', f'evaluate.load("{repo_id}")')
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)
