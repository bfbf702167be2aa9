"""The curl command that enqueues a job through the API."""

import json
from typing import Any

from flask import request

from spoils.config import current_settings
from spoils.job import Job
from spoils.masking import masked
from spoils.web.dashboard.shared import formats

LONGEST = 4_000


def curl_here(job_class: type[Job], payload: Any) -> str:
    """The command for the address of this request, with a token if the class needs one."""
    with_token = bool(current_settings().api_tokens) or not job_class.open
    return curl(job_class, payload, root_url=request.url_root, with_token=with_token)


def curl(job_class: type[Job], payload: Any, *, root_url: str, with_token: bool) -> str:
    """The command; secrets in the payload are masked and have to be filled in."""
    fields = {name: value for name, value in payload.items() if name in job_class.model_fields}
    body = formats.visible(json.dumps(masked(fields), ensure_ascii=False)).replace("'", "'\\''")
    lines = [f"curl -X POST {root_url}api/jobs/{job_class.endpoint}", "-H 'Content-Type: application/json'"]
    if with_token:
        lines.append("-H 'Authorization: Bearer …'")
    return " \\\n  ".join([*lines, f"-d '{formats.shortened(body, LONGEST)}'"])
