"""Errors of the Hub are one line that names a way out, never a token; what may succeed later is tried again."""

import importlib
import json

import pytest
from huggingface_hub import errors

from hf_ser.errors import HubError, InputError, hub_errors, hub_reason, persistent, without_tokens

# The client's library for HTTP: httpx or httpx2, depending on its release.
httpx = importlib.import_module(errors.HfHubHTTPError.__bases__[0].__module__.partition(".")[0])
RESPONSE = httpx.Response(404, request=httpx.Request("GET", "http://127.0.0.1/x"))


def answered(status, **headers):
    request = httpx.Request("POST", "http://127.0.0.1/x")
    response = httpx.Response(status, headers=headers, request=request)
    return errors.HfHubHTTPError(f"status {status} for Bearer hf_secretsecret", response=response)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.GatedRepoError("x", response=RESPONSE), "is gated; request access"),
        (errors.RepositoryNotFoundError("x", response=RESPONSE), "no such repository, or it is private"),
        (errors.RevisionNotFoundError("x", response=RESPONSE), "revision 'v9' does not exist"),
        (errors.RemoteEntryNotFoundError("x", response=RESPONSE), "lacks a required file"),
        (errors.HFValidationError("x"), "give USER/NAME"),
        (errors.OfflineModeIsEnabled("x"), "offline mode is on"),
        (errors.LocalEntryNotFoundError("x"), "cannot be reached and the files are not cached"),
        (answered(401), "token was rejected"),
        (answered(403), "needs write access"),
        (answered(412), "pull the new version"),
        (answered(429), "limits the rate"),
        (answered(503), "fails at the moment (503)"),
        (httpx.ConnectError("refused"), "connection to the Hub failed"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "something else than JSON"),
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


def test_the_block_raises_one_kind_and_leaves_other_errors_alone():
    with pytest.raises(HubError, match=r"^model 'me': the Hub fails at the moment \(503\)"), hub_errors("model 'me'"):
        raise answered(503)
    with pytest.raises(InputError, match=r"^as it was$"), hub_errors("model 'me'"):
        raise InputError("as it was")
    with pytest.raises(KeyError), hub_errors("model 'me'"):
        raise KeyError("a defect")


def test_no_token_survives_and_our_name_does():
    text = without_tokens("hf_aliceWriteToken0 of hf_ser: Bearer sometoken")
    assert text == "hf_*** of hf_ser: Bearer hf_***"


def test_an_error_of_a_loader_process_is_one_line():
    error = InputError("Caught InputError in DataLoader worker process 0.\n  ...\nInputError: clip 'a'")
    assert str(error) == "clip 'a'"


def behind(error):
    wrapper = errors.LocalEntryNotFoundError("x")
    wrapper.__cause__ = error
    return wrapper


@pytest.mark.parametrize(
    ("error", "waits"),
    [
        (answered(503), [1.0, 2.0, 4.0]),
        (answered(429), [1.0, 2.0, 4.0]),
        (answered(429, **{"Retry-After": "9"}), [9.0, 9.0, 9.0]),
        (answered(429, **{"Retry-After": "300"}), []),
        (httpx.ReadError("reset"), [1.0, 2.0, 4.0]),
        (json.JSONDecodeError("no JSON", "<html>", 0), [1.0, 2.0, 4.0]),
        (answered(404), []),
        (answered(412), []),
        (errors.OfflineModeIsEnabled("x"), []),
        # The client itself has tried again by then.
        (behind(answered(503)), []),
        (PermissionError("x"), []),
    ],
)
def test_only_what_may_succeed_later_is_tried_again(monkeypatch, error, waits):
    slept, tries = [], []
    monkeypatch.setattr("time.sleep", slept.append)

    def fail():
        tries.append(error)
        raise error

    with pytest.raises(type(error)):
        persistent(fail)
    assert slept == waits
    assert len(tries) == len(waits) + 1
