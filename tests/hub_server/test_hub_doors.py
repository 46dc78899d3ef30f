"""Who sees what, and what is found: private and gated repositories, trees by pages, search."""

import pytest

from hub_server.script import run


@pytest.fixture(scope="module")
def doors(hub):
    hub.create("alice/secret", {"a.txt": "hush"}, private=True)
    hub.create("lab/secret", {"a.txt": "ours"}, private=True)
    hub.create("alice/gated", {"a.txt": "ask"})
    hub.commit("alice/gated", {f"many/{number:02d}.txt": str(number) for number in range(60)}, message="Many")
    hub.create("alice/granted", {"a.txt": "come in"}).gated = "manual"
    hub.grant("alice/granted", "bob")
    card = "---\npipeline_tag: {}\ntags: [{}]\nlicense: mit\n---\n"
    hub.create("bob/search-one", {"README.md": card.format("audio-classification", "red, blue")})
    hub.create("bob/search-two", {"README.md": card.format("text-classification", "red")})
    hub.create("bob/search-private", {"README.md": card.format("audio-classification", "red")}, private=True)
    code = """
apis = {"alice": alice, "bob": bob, "nobody": nobody}
def content(repo_id, filename, api):
    # What one of them has downloaded must not serve another.
    folder = os.environ["HF_HOME"] + next(name for name in apis if apis[name] is api)
    return Path(api.hf_hub_download(repo_id, filename, cache_dir=folder)).read_bytes().hex()
for id in ("alice/secret", "lab/secret"):
    seen[id] = {name: outcome(content, id, "a.txt", api) for name, api in apis.items()}
    seen[id]["info"] = outcome(bob.model_info, id) if id == "alice/secret" else None
alice.update_repo_settings("alice/gated", gated="auto")
for id in ("alice/gated", "alice/granted"):
    seen[id] = {name: outcome(content, id, "a.txt", api) for name, api in apis.items()}
seen["listed"] = nobody.model_info("alice/gated").gated
seen["check"] = [outcome(api.auth_check, id) for api, id in
                 ((bob, "alice/gated"), (bob, "alice/granted"), (nobody, "alice/secret"))]
tree = alice.list_repo_tree("alice/gated", "many", expand=True)
seen["many"] = [len(list(tree)), len(alice.list_repo_files("alice/gated"))]
seen["paths"] = [(p.path, type(p).__name__) for p in alice.get_paths_info("alice/gated", ["a.txt", "many", "nope"])]
facts = alice.get_paths_info("alice/gated", ["a.txt", "many/59.txt"], expand=True)
seen["last commit"] = [p.last_commit.title for p in facts]

def ids(api=nobody, **named):
    return sorted(model.id for model in api.list_models(**named))
seen["search"] = [ids(author="bob"), ids(author="bob", api=bob), ids(filter=["red", "blue"]),
                  ids(filter=["red", "license:mit"]), ids(pipeline_tag="text-classification"),
                  ids(search="SEARCH-O"), len(ids(limit=2)), ids(gated=True), outcome(ids, inference="warm")]
alice.update_repo_settings("alice/secret", private=False)
seen["opened"] = outcome(content, "alice/secret", "a.txt", nobody)
"""
    return run(hub, code)


def test_a_private_repository_does_not_exist_for_others(doors):
    assert doors["alice/secret"] == {
        "alice": b"hush".hex(),
        "bob": "RepositoryNotFoundError 404",
        "nobody": "RepositoryNotFoundError 401",
        "info": "RepositoryNotFoundError 404",
    }
    assert doors["lab/secret"]["bob"] == b"ours".hex()
    assert doors["lab/secret"]["nobody"] == "RepositoryNotFoundError 401"
    assert doors["opened"] == b"hush".hex()


def test_a_gated_repository_is_known_but_closed(doors):
    closed = {"alice": b"ask".hex(), "bob": "GatedRepoError 403", "nobody": "GatedRepoError 401"}
    assert doors["alice/gated"] == closed
    assert doors["alice/granted"] == {name: b"come in".hex() for name in ("alice", "bob")} | {
        "nobody": "GatedRepoError 401"
    }
    assert doors["listed"] == "auto"
    assert doors["check"] == ["GatedRepoError 403", None, "RepositoryNotFoundError 401"]


def test_trees_come_in_pages(doors, hub):
    assert doors["many"] == [60, 62]
    pages = [record for record in hub.requested("GET", "*/gated/tree/main/many") if "expand=true" in record.query]
    assert len(pages) == 2


def test_facts_about_paths(doors):
    assert doors["paths"] == [["a.txt", "RepoFile"], ["many", "RepoFolder"]]
    assert doors["last commit"] == ["By the test", "Many"]


def test_search(doors):
    one, two, private = "bob/search-one", "bob/search-two", "bob/search-private"
    by_author, by_bob, both, either, task, name, limited, gated, unknown = doors["search"]
    assert by_author == [one, two]
    assert by_bob == sorted([one, two, private])
    assert (both, either, task, name) == ([one], [one, two], [two], [one])
    assert limited == 2
    assert gated == ["alice/gated", "alice/granted"]
    assert unknown == "BadRequestError 400"
