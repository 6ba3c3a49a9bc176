"""What to enter in a platform so that its webhooks reach modsync, step by step, for each scheme."""

from __future__ import annotations

from collections.abc import Mapping

from app.config_models import Source

_JSON = "Content type: application/json"
_KEY_STEP = "Secret: {secret}"

# Scheme -> the steps; sources: the platforms' own documentation (see docs/webhooks.md).
_STEPS: Mapping[str, tuple[str, ...]] = {
    "article": (
        "In your platform or script, send a POST with a JSON body to {url}.",
        "Body: ref, commit_id and module_path; also version, repo_url, subdir, delivery_id (docs/webhooks.md).",
        "Sign the raw body: header X-Gitlab-Token: sha256=<hex of HMAC-SHA256> with {secret}.",
    ),
    "standard-webhooks": (
        "Add an endpoint (Svix and others), or in GitLab 19.0 and newer: Settings, Webhooks, Add new webhook.",
        "URL: {url}",
        "Signing secret (whsec_... or its base64 alone): {secret}; where the platform makes it, put its value there.",
        "Headers: webhook-id, webhook-timestamp and webhook-signature, or Svix' own svix-...: leave whichever is sent.",
        "Events: the release event (type release), in GitLab Releases events or Tag push events.",
    ),
    "github": (
        "Open the repository's or organisation's Settings, Webhooks, Add webhook.",
        "Payload URL: {url}",
        _JSON,
        _KEY_STEP,
        "Let me select individual events: Releases; Pushes too, where you tag without releases.",
    ),
    "gitea": (
        "Open the repository's or organisation's Settings, Webhooks, Add webhook, Gitea.",
        "Target URL: {url}",
        "HTTP method: POST; POST content type: application/json (a form is refused).",
        _KEY_STEP,
        "Custom events: Release; Push too, where you tag without releases (Test Delivery sends nothing without Push).",
    ),
    "forgejo": (
        "Open the repository's or organisation's Settings, Webhooks, Add webhook, Forgejo.",
        "Target URL: {url}",
        "HTTP method: POST; POST content type: application/json (a form is refused).",
        _KEY_STEP,
        "Custom events: Release; Push too, where you tag without releases (Test Delivery sends nothing without Push).",
    ),
    "gitlab-token": (
        "Open the project's or group's Settings, Webhooks, Add new webhook.",
        "URL: {url}",
        "Secret token: {secret}",
        "Trigger: Releases events; or Tag push events, where you tag without releases.",
        "SSL verification: on. This token proves nothing about the body: from GitLab 19.0 use standard-webhooks.",
    ),
    "artifactory": (
        "Open Administration, General, Webhooks, New webhook.",
        "URL: {url}",
        "Secret token: {secret}, and tick 'Use secret for payload signing'.",
        "Event: Artifact was deployed, on the Go repository.",
    ),
}


def guide_text(source: Source, base_url: str, origins: Mapping[str, str]) -> str:
    """Numbered steps; the secret is named by where it is kept, never shown."""
    url = f"{base_url}/webhooks/{source.name}"
    newest = source.secrets[0]
    where = origins.get(f"sources[{source.name}].secrets[{newest.id}].value", "the configuration")
    secret = f"the value of {where} (secret {newest.id!r})"
    steps = [step.format(url=url, secret=secret) for step in _STEPS[source.scheme]]
    steps.append(f"Let the platform send its test, then look: modsync deliveries --source {source.name}")
    steps.append(f"Or try it from here: modsync send {source.name} --module MODULE --version VERSION ...")
    lines = [f"{number}. {step}" for number, step in enumerate(steps, 1)]
    return "\n".join([f"source {source.name} ({source.scheme})", *lines])
