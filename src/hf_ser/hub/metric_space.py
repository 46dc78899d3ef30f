"""A metric of this library as a Space: what `evaluate.load` reads, and a page of its own."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING, Final

from hf_ser.errors import InputError
from hf_ser.evaluation.metrics import require_metric

if TYPE_CHECKING:
    from hf_ser.hub.commits import Pushed

__all__ = ["metric_space_files", "push_metric"]

GRADIO: Final = "6.31.0"
"""The release that the page was looked at with; a Space without one takes the newest."""

_REPO_ID: Final = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
_FRONT_MATTER: Final = {"sdk_version": GRADIO, "app_file": "app.py"}


def push_metric(
    name: str,
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    create_pr: bool = False,
    token: str | None = None,
) -> Pushed:
    """Put a metric of this library on the Hub, as a Space that `evaluate.load(repo_id)` loads.

    The Space holds the metric's module, which needs nothing of this library, its card, and a page that shows the
    card and computes the metric from pasted numbers. All files are one commit; what a human wrote into the card
    stays.

    Args:
        name: One of `hf_ser.evaluation.metrics.METRICS`.
        repo_id: `USER/NAME`; the Space is made where it does not exist.
        private: Whether a new Space is private: then `evaluate.load` needs a token that may read it.
        revision: Branch to commit to, made where it does not exist; None takes the main one.
        create_pr: Open a pull request instead.
        token: Of the Hub; None takes the one that is logged in.

    Returns:
        The commit, or that none was needed.

    Raises:
        InputError: There is no such metric, `evaluate` could not load a Space of that name, or the Hub refuses.

    Example:
        >>> push_metric("eer", "me/my.eer")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: 'me/my.eer' cannot be a metric: evaluate imports it by its name; give USER/NAME of ...
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
        owned_front_matter=("sdk", "app_file"),
    )


def metric_space_files(name: str, repo_id: str) -> dict[str, bytes]:
    """Return the files of a metric's Space by their paths in it.

    Args:
        name: One of `hf_ser.evaluation.metrics.METRICS`.
        repo_id: `USER/NAME`. `evaluate` looks for the module under the name of the repository.

    Raises:
        InputError: There is no such metric, or `evaluate` could not load a Space of that name.

    Example:
        >>> sorted(metric_space_files("eer", "me/my_eer"))
        ['README.md', 'app.py', 'my_eer.py', 'requirements.txt']
    """
    require_metric(name)
    if not _REPO_ID.fullmatch(repo_id):
        raise InputError(
            f"'{repo_id}' cannot be a metric: evaluate imports it by its name; give USER/NAME of letters, digits, _ "
            "and -, without a dot"
        )
    module = repo_id.partition("/")[2]
    if module.casefold() == "app":
        raise InputError(f"'{repo_id}' cannot be a metric: app.py is the Space's page; give another name")
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
    """Return a metric folder's card as that of a Space: it loads the Space, and links to no neighbour."""
    fields = "".join(f"{key}: {value}\n" for key, value in _FRONT_MATTER.items())
    text = text.replace("\nsdk: gradio\n", f"\nsdk: gradio\n{fields}", 1)
    text = text.replace(f'evaluate.load("./{name}")  # this folder; needs no network', f'evaluate.load("{repo_id}")')
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)
