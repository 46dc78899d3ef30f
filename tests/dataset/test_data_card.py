"""The data set's card: accepted by the Hub, and its code runs as printed."""

import re
import shutil
from importlib.util import find_spec

from hf_ser.dataset.data_card import card_of_repository
from hub_server.cards import front_matter, validate


def snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.S)


def test_the_card_is_accepted_by_the_hub(built):
    card = (built / "README.md").read_text()
    assert validate(card, "dataset") == ([], [])
    data = front_matter(card)
    assert data["license"] == ["cc-by-nc-sa-4.0", "odbl", "cc-by-nc-nd-4.0", "other"]
    assert (data["size_categories"], data["language"]) == (["n<1K"], ["en"])


def test_its_snippets_run_as_printed(built, hub, tmp_path):
    folder = tmp_path / "published"
    shutil.copytree(built, folder)
    card = card_of_repository((built / "README.md").read_text(), "alice/eight_emotions")
    (folder / "README.md").write_text(card)
    hub.create_from_folder("alice/eight_emotions", folder, kind="dataset")
    first, decoded, _ = snippets(card)
    printed = hub.run(first, cwd=tmp_path).splitlines()[-1]
    assert re.fullmatch(r"\w+ (ravdess|crema_d|tess|savee) \w+ \(4\d\d,\) 16000", printed)
    # The card says that this one needs torchcodec.
    if find_spec("torchcodec") is not None:
        assert hub.run(decoded, cwd=tmp_path).splitlines()[-1].startswith("torch.Size([1, ")


def test_in_the_folder_only_its_path_has_to_be_filled_in(built, capsys):
    card = (built / "README.md").read_text()
    assert '`"USER/NAME"` stands for the path of this folder.' in card
    exec(snippets(card)[0].replace("USER/NAME", str(built)), {})
    assert re.fullmatch(r"\w+ (ravdess|crema_d|tess|savee) \w+ \(4\d\d,\) 16000\n", capsys.readouterr().out)


def test_all_snippets_are_python_and_name_the_same_data_set(built):
    card = (built / "README.md").read_text()
    published = card_of_repository(card, "me/eight_emotions")
    for text, place in ((card, '"USER/NAME"'), (published, '"me/eight_emotions"')):
        blocks = snippets(text)
        assert len(blocks) == 3
        for block in blocks:
            compile(block, "card", "exec")
            assert place in block
    assert "USER/NAME" not in published
    assert validate(published, "dataset") == ([], [])
    assert published.partition("## Configurations")[2] == card.partition("## Configurations")[2]
