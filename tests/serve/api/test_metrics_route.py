from typing import Any

from serve.engine.types import StepReport
from serve.metrics import Metrics


async def test_requests_and_tokens_are_counted(house: Any, ask: Any) -> None:
    await house.post(ask())
    await (await house.post(ask(stream=True))).get_data()
    await house.post(ask(temperature=9))
    await house.get("/nothing")
    response = await house.get("/metrics")
    text = (await response.get_data()).decode()
    assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
    route = 'route="/v1/chat/completions"'
    assert f'parlance_http_requests_total{{{route},status="200"}} 2.0' in text
    assert f'parlance_http_requests_total{{{route},status="400"}} 1.0' in text
    assert 'parlance_http_requests_total{route="unmatched",status="404"} 1.0' in text
    assert f"parlance_http_request_seconds_count{{{route}}} 3.0" in text
    assert 'parlance_tokens_total{kind="prompt"} 42.0' in text
    assert 'parlance_tokens_total{kind="completion"} 12.0' in text
    assert "parlance_time_to_first_token_seconds_count 2.0" in text
    assert "parlance_inter_token_seconds_count 10.0" in text  # 6 tokens have 5 gaps


async def test_engine_counters_are_shown(house: Any) -> None:
    text = (await (await house.get("/metrics")).get_data()).decode()
    assert "parlance_engine_running 3.0" in text
    assert "parlance_engine_pages_total 64.0" in text
    assert "parlance_engine_steps_total 17.0" in text
    assert "# TYPE parlance_engine_compilations_total counter" in text
    assert 'parlance_engine_state{state="ready"} 1.0' in text
    assert 'parlance_engine_state{state="dead"} 0.0' in text
    assert 'fingerprint="fp_test"' in text
    assert 'platform="cpu"' in text


def test_steps_are_observed() -> None:
    metrics = Metrics()
    metrics.observe_step(StepReport(16, 64, 70e-6, 0.048))
    metrics.observe_step(StepReport(4, 0, 40e-6, 0.030))
    text = metrics.render().decode()
    assert 'parlance_step_host_seconds_bucket{le="5e-05"} 1.0' in text
    assert 'parlance_step_host_seconds_bucket{le="0.0001"} 2.0' in text
    assert "parlance_step_seconds_sum 0.078" in text
    assert "parlance_prefill_tokens_total 64.0" in text


def test_callers_cannot_make_the_metrics_grow() -> None:
    metrics = Metrics(most_callers=2)
    for caller in ("a", "b", "c", "d", "a"):
        metrics.count_tokens(1, 1, caller)
    text = metrics.render().decode()
    assert 'parlance_caller_tokens_total{caller="a"} 4.0' in text
    assert 'parlance_caller_tokens_total{caller="other"} 4.0' in text
    assert 'caller="c"' not in text
