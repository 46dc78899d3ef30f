"""Errors of the Hub as one line: the way out is in it, a token never."""

import httpx2
import pytest
from huggingface_hub import errors

from hf_ser.remote import hub_reason, without_tokens

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
        (answered(418), "status 418"),
    ],
)
def test_every_refusal_says_the_way_out(error, words):
    reason = hub_reason(error, revision="v9")
    assert words in reason
    assert "\n" not in reason
    assert "hf_secret" not in reason


def test_the_cause_is_found_behind_a_wrapper():
    error = OSError("cannot load\nmany lines")
    error.__cause__ = errors.GatedRepoError("x", response=RESPONSE)
    assert "is gated" in hub_reason(error)


def test_no_token_survives_and_our_name_does():
    text = without_tokens("hf_aliceWriteToken0 of hf_ser: Bearer sometoken")
    assert text == "hf_*** of hf_ser: Bearer hf_***"
