"""Errors of the Hub as one line: the way out is in it, a token never."""

import json

import httpx2
import pytest
from huggingface_hub import errors

from hf_ser import remote
from hf_ser.remote import hub_reason, passes, without_tokens

RESPONSE = httpx2.Response(404, request=httpx2.Request("GET", "http://127.0.0.1/x"))


def answered(status):
    response = httpx2.Response(status, request=httpx2.Request("POST", "http://127.0.0.1/x"))
    return errors.HfHubHTTPError(f"status {status} for Bearer hf_secretsecret", response=response)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.GatedRepoError("x", response=RESPONSE), "is gated; ask for access"),
        (errors.RepositoryNotFoundError("x", response=RESPONSE), "no such repository, or it is private"),
        (errors.RevisionNotFoundError("x", response=RESPONSE), "revision 'v9' does not exist"),
        (errors.RemoteEntryNotFoundError("x", response=RESPONSE), "lacks a file"),
        (errors.HFValidationError("x"), "give USER/NAME"),
        (errors.OfflineModeIsEnabled("x"), "offline mode is on"),
        (errors.LocalEntryNotFoundError("x"), "cannot be reached and the files are not in the cache"),
        (answered(401), "token is refused"),
        (answered(403), "needs the role write"),
        (answered(412), "pull their version"),
        (answered(429), "slow down"),
        (answered(503), "fails at the moment (503)"),
        (httpx2.ConnectError("refused"), "connection to the Hub broke"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "is no JSON"),
        (answered(418), "status 418"),
    ],
)
def test_every_refusal_says_the_way_out(error, words):
    reason = hub_reason(error, revision="v9")
    assert words in reason
    assert "\n" not in reason
    assert "hf_secret" not in reason


def test_what_the_client_tried_again_by_itself_is_not_tried_again():
    error = errors.LocalEntryNotFoundError("x")
    error.__cause__ = answered(503)
    assert not passes(error)
    assert passes(error.__cause__)
    assert "fails at the moment (503)" in hub_reason(error)


def test_the_cause_is_found_behind_a_wrapper():
    error = OSError("cannot load\nmany lines")
    error.__cause__ = errors.GatedRepoError("x", response=RESPONSE)
    assert "is gated" in hub_reason(error)


def test_no_token_survives_and_our_name_does():
    text = without_tokens("hf_aliceWriteToken0 of hf_ser: Bearer sometoken")
    assert text == "hf_*** of hf_ser: Bearer hf_***"


def test_only_what_passes_is_tried_again(monkeypatch):
    monkeypatch.setattr(remote, "WAITS_SECONDS", (0.0, 0.0))
    tries = []

    def fail(error):
        tries.append(error)
        raise error

    for error, times in (
        (answered(503), 3),
        (answered(429), 3),
        (httpx2.ReadError("reset"), 3),
        (json.JSONDecodeError("no JSON", "<html>", 0), 3),
        (answered(404), 1),
        (answered(412), 1),
        (errors.OfflineModeIsEnabled("x"), 1),
        (PermissionError("x"), 1),
    ):
        tries.clear()
        with pytest.raises(type(error)):
            remote.persistent(lambda error=error: fail(error))
        assert len(tries) == times, error


def test_the_hubs_own_wait_comes_first_and_is_not_endless(monkeypatch):
    slept = []
    monkeypatch.setattr("time.sleep", slept.append)

    def limited(**headers):
        request = httpx2.Request("POST", "http://127.0.0.1/x")
        return errors.HfHubHTTPError("x", response=httpx2.Response(429, headers=headers, request=request))

    assert remote.waits(limited(), 2.0)
    assert remote.waits(limited(**{"Retry-After": "9"}), 2.0)
    assert remote.waits(limited(ratelimit='"api";r=0;t=55'), 2.0)
    assert not remote.waits(limited(**{"Retry-After": "300"}), 2.0)
    assert slept == [2.0, 9.0, 55.0]
