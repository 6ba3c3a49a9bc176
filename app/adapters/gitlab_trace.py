"""A job's log, read from its beginning: GitLab's API gives no part of one (lib/api/ci/jobs.rb), so it is cut off here."""

from __future__ import annotations

import requests
from gitlab.exceptions import GitlabParsingError

from app.adapters.gitlab_answers import Tail
from app.adapters.gitlab_client import Client

# GitLab itself keeps 100 MB of a log where nobody changed that (ci_jobs_trace_size_limit).
MOST_BYTES = 128 * 1024 * 1024
_BLOCK = 4 * 1024  # a block that is not whole when the time is up is lost


def read_trace(client: Client, project: int, job: int, tail: Tail, most: int = MOST_BYTES) -> bool:
    """Into `tail`; False when there is more than `most` bytes. What came before an error stays there."""
    answer = client.http_get(f"/projects/{project}/jobs/{job}/trace", streamed=True, raw=True)
    if not isinstance(answer, requests.Response):
        raise GitlabParsingError("the answer is not a log")
    with answer:
        for block in answer.iter_content(_BLOCK):
            tail.add(block)
            most -= len(block)
            if most < 0:
                return False
    return True
