"""A metric of this library as a Space, which `evaluate.load` loads and whose page computes it."""

from __future__ import annotations

import re
from importlib import resources
from typing import Final

from hf_ser.errors import InputError
from hf_ser.evaluation.metrics import metric_files
from hf_ser.hub.commits import Pushed, push_files

# The release of Gradio that the page was tested with.
_FRONT_MATTER: Final = "\nsdk: gradio\nsdk_version: 6.31.0\napp_file: app.py\n"
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

    The Space holds the metric's module, which does not need this library, its card, and a page that computes it.

    Args:
        name: One of `hf_ser.evaluation.metrics.METRICS`.
        repo_id: `USER/NAME`; the Space is created if it does not exist.
        private: Whether a new Space is private; then `evaluate.load` needs a token that may read it.
        revision: Branch to commit to, created if it does not exist; None is the main branch.
        create_pr: Open a pull request instead.
        token: Hub token; None uses the one that is logged in.

    Raises:
        InputError: There is no such metric, or `evaluate` could not load a Space of that name (`HubError` if the
            Hub refuses or cannot be reached).

    Example:
        >>> push_metric("eer", "me/my.eer")
        Traceback (most recent call last):
        ...
        hf_ser.errors.InputError: 'me/my.eer' cannot hold a metric: evaluate imports it by its name; give USER/NAME ...
    """
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
    """Return the files of a metric's Space by their paths."""
    files = {file: path.read_bytes() for file, path in metric_files(name).items()}
    if not _REPO_ID.fullmatch(repo_id):
        raise InputError(
            f"'{repo_id}' cannot hold a metric: evaluate imports it by its name; give USER/NAME of letters, digits, _ "
            "and -, without a dot"
        )
    module = repo_id.partition("/")[2]
    if module.casefold() in ("app", "counts"):
        raise InputError(f"'{repo_id}' cannot hold a metric: the Space has another {module}.py; give another name")
    templates = resources.files("hf_ser").joinpath("templates", "metric_space")
    page = templates.joinpath("app.py.jinja").read_text(encoding="utf-8")
    files[f"{module}.py"] = files.pop(f"{name}.py")
    return files | {
        "README.md": _card(files["README.md"].decode(), name, repo_id).encode(),
        "app.py": page.replace("{{ module }}", module).encode(),
        "requirements.txt": templates.joinpath("requirements.txt").read_bytes(),
    }


def _card(text: str, name: str, repo_id: str) -> str:
    """Return the metric's card for its Space: its code loads the Space, and it has no links to other metrics."""
    text = text.replace("\nsdk: gradio\n", _FRONT_MATTER, 1)
    text = text.replace(
        f'evaluate.load("./{name}.py")  # the file beside this card; works offline', f'evaluate.load("{repo_id}")'
    )
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)
