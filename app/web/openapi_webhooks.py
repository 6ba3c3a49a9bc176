"""What platforms and GitLab send, for the API's description: bodies, headers, and how each scheme signs (docs/webhooks.md)."""

from __future__ import annotations

from collections.abc import Mapping

from app.domain.pipeline_event import ENDED
from app.domain.platforms.article import RELEASES_LIMIT
from app.web.openapi_schemas import TEXT, Schema, listed, nullable, record, ref

_COMMIT: Schema = {"type": "string", "pattern": "^([0-9a-f]{40}|[0-9a-f]{64})$"}
_PATH: Schema = {"type": "string", "minLength": 1, "maxLength": 500, "description": "like go.corp.example/team/repo/v2"}
_REF: Schema = {"type": "string", "minLength": 1, "maxLength": 1000, "description": "like refs/tags/v1.4.0"}
_RELEASE: dict[str, Schema] = {
    "ref": _REF, "commit_id": _COMMIT, "module_path": _PATH, "version": nullable(TEXT), "repo_url": nullable(TEXT),
    "subdir": nullable(TEXT), "delivery_id": nullable(TEXT), "h1": nullable(TEXT),
}  # fmt: skip
_REPOSITORY = record(clone_url=TEXT)
_DEPLOYED = record("path", repo_key=TEXT, path=TEXT, name=TEXT, sha256=TEXT)
_ARTIFACT = record(
    "domain",
    "event_type",
    "data",
    domain=TEXT,
    event_type=TEXT,
    data={
        "anyOf": [
            _DEPLOYED,
            {"type": "string", "contentMediaType": "application/json", "description": "the JSON text of the same"},
        ]
    },
)
_BODIES = ("ArticleRelease", "ArticleReleases", "StandardWebhook", "ForgeEvent", "GitLabEvent", "ArtifactoryEvent")

SCHEMAS: dict[str, Schema] = {
    "ArticleRelease": record("ref", "commit_id", "module_path", **_RELEASE),
    "ArticleReleases": record(
        "releases", **_RELEASE,
        releases={"type": "array", "items": record(**_RELEASE) | {"required": []}, "minItems": 1, "maxItems": RELEASES_LIMIT,
                  "description": "what an item leaves out is what stands beside the list"}),
    "StandardWebhook": record("type", "data", type={"type": "string", "examples": ["release", "ping"]}, timestamp=TEXT,
                              data={"anyOf": [ref("ArticleRelease"), ref("ArticleReleases")]}),
    "ForgeEvent": record("repository", action=TEXT, ref=TEXT, after=TEXT, sha=TEXT, repository=_REPOSITORY,
                         release=record("tag_name", tag_name=TEXT, draft={"type": "boolean"}, prerelease={"type": "boolean"}),
                         head_commit=nullable(record(id=_COMMIT))) | {
        "description": "GitHub, Gitea, Forgejo: release, push of a tag, create; the kind is in X-GitHub-Event and the like"},
    "GitLabEvent": record("project", object_kind={"type": "string", "examples": ["release", "tag_push"]},
                          event_name={"type": "string", "description": "the kind, where system hooks send no object_kind"},
                          action=TEXT, tag=TEXT, ref=TEXT, after=TEXT, checkout_sha=nullable(_COMMIT),
                          commit=nullable(record(id=_COMMIT)), project=record(git_http_url=TEXT)),
    "ArtifactoryEvent": {"anyOf": [_ARTIFACT, record(event=_ARTIFACT)]},
    "OtherEvent": {"type": "object",
                   "description": "an authentic event that tells no release is taken and left alone: 200, with `ignored`"},
    "WebhookBody": {"type": "object", "anyOf": [ref(name) for name in (*_BODIES, "OtherEvent")]},
    "WebhookForm": record(payload={"type": "string", "contentMediaType": "application/json",
                                   "description": "scheme github: the JSON text of a ForgeEvent"}),
    "PipelineEvent": record(
        "object_kind", "object_attributes", "project", object_kind={"type": "string", "const": "pipeline"},
        object_attributes=record("id", "status", id={"type": "integer"}, name=nullable(TEXT),
                                 status={"type": "string", "examples": sorted(ENDED)},
                                 variables=listed(record(key=TEXT, value=TEXT))),
        project=record(id={"type": "integer"})),
    # GitLab disables hooks that answer 4xx: whatever is signed is answered 200.
    "PipelineBody": {"anyOf": [ref("PipelineEvent"), {}]},
    "AthensQuestion": record(Module=_PATH, Version=TEXT),
    "Woken": record(run=nullable(TEXT)),
}  # fmt: skip


def _key(header: str, said: str) -> Schema:
    return {"type": "apiKey", "in": "header", "name": header, "description": said}


_HMAC = "hexadecimal HMAC-SHA256 of the raw body with the source's secret"

SECURITY: Mapping[str, Schema] = {
    "article": _key("X-Gitlab-Token", f"scheme article: `sha256=` and the {_HMAC}"),
    "github": _key(
        "X-Hub-Signature-256", f"schemes github and article, also gitea and forgejo: `sha256=` and the {_HMAC}"
    ),
    "gitea": _key("X-Gitea-Signature", f"scheme gitea: the {_HMAC}"),
    "forgejo": _key("X-Forgejo-Signature", f"scheme forgejo: the {_HMAC}"),
    "gitlabToken": _key("X-Gitlab-Token", "scheme gitlab-token: the secret itself"),
    "artifactory": _key("X-JFrog-Event-Auth", f"scheme artifactory: the {_HMAC}"),
    "standardId": _key("webhook-id", "scheme standard-webhooks: the delivery's id; all three also as `svix-...`"),
    "standardTimestamp": _key("webhook-timestamp", "scheme standard-webhooks: Unix seconds, five minutes either way"),
    "standardSignature": _key(
        "webhook-signature",
        "scheme standard-webhooks: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`, several with spaces between",
    ),
}
_STANDARD: Mapping[str, list[str]] = {"standardId": [], "standardTimestamp": [], "standardSignature": []}
_ONE_HEADER = ("article", "github", "gitea", "forgejo", "gitlabToken", "artifactory")

BY_SCHEME: list[Mapping[str, list[str]]] = [*({name: []} for name in _ONE_HEADER), _STANDARD]
"""How a source's webhook is signed: one of these, as the source's scheme says."""

BY_GITLAB: list[Mapping[str, list[str]]] = [{"gitlabToken": []}, _STANDARD]
"""How GitLab's own hook is."""

_EVENTS = ("X-GitHub-Event", "X-Gitea-Event", "X-Forgejo-Event")
_DELIVERIES = ("X-GitHub-Delivery", "X-Gitea-Delivery", "X-Forgejo-Delivery", "Idempotency-Key")
EVENT_HEADERS: Mapping[str, Schema] = dict.fromkeys((*_EVENTS, *_DELIVERIES), TEXT)
"""What kind of event it is, and the delivery's id, where the platform says so; none of them is signed."""
