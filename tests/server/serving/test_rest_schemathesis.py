"""The running API against its own description: no 5xx but 503 and 504, and nothing that is not described."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.support.small_engine import SmallEngine

from fedaffect.server.registry import Registry
from fedaffect.server.serving.app import CloudServer, background
from fedaffect.server.serving.gateway.limits import Limits

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
DOCUMENTED = (503, 504)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudServer]:
    url = f"sqlite:///{tmp_path_factory.mktemp('registry') / 'server.db'}"
    limits = Limits(body_bytes=200_000, default_deadline_ms=600_000, longest_deadline_ms=600_000)
    with Registry.open(url) as registry, background(SmallEngine(), registry=registry, limits=limits) as server:
        yield server


@pytest.fixture(scope="module")
def api(cloud: CloudServer) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{cloud.rest_url}/openapi.json")


SETTINGS = hypothesis.settings(
    max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck), database=None
)


@pytest.mark.slow
def test_no_answer_outside_the_description(api: schemathesis.BaseSchema) -> None:
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) >= 8

    def ask(case: schemathesis.Case) -> None:
        response = case.call(timeout=120)
        checks = [c for c in CHECKS if not (c is not_a_server_error and response.status_code in DOCUMENTED)]
        case.validate_response(response, checks=checks)

    for operation in operations:
        # Requests as described; and, where there is anything to get wrong, others.
        open_to_mistakes = operation.method == "post" or "{" in operation.path
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE) if open_to_mistakes else (GenerationMode.POSITIVE,)
        for mode in modes:
            SETTINGS(hypothesis.given(case=operation.as_strategy(generation_mode=mode))(ask))()
