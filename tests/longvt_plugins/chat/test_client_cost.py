"""Money, totals and health."""

import asyncio
import threading

import pytest

from longvt_plugins.chat import ChatClient, ChatConfig, ChatHealth, ChatUsage, CostBudget
from longvt_plugins.errors import BudgetExceededError, ChatError, ConfigError
from longvt_plugins.testing_server import ScriptedChatServer, assistant, failure, null_content, rate_limited

QUESTION = [{"role": "user", "content": "Which colour?"}]
PRICES = {"input": 1.0, "output": 10.0}  # 7 tokens read and 5 written: 57 millionths of a dollar


def make(server, jumps=None, budget=None, **settings):
    defaults = {"base_url": server.base_url, "model": "judge", "backoff": 0.001}
    clock = {} if jumps is None else {"clock": jumps.clock}
    return ChatClient.from_config(ChatConfig(**(defaults | settings)), budget=budget, **clock)


def ask(client, **options):
    return asyncio.run(client.complete(QUESTION, **({"max_tokens": 16} | options)))


def test_a_reply_costs_what_its_tokens_cost():
    with ScriptedChatServer([assistant("red"), assistant("red", usage=(1000, 100))]) as server:
        client = make(server, prices=PRICES)
        costs = [ask(client).cost for _ in range(2)]
    assert costs == pytest.approx([57e-6, 2000e-6])
    assert client.usage.cost == pytest.approx(sum(costs))
    assert client.budget.spent == pytest.approx(sum(costs))


def test_without_prices_nothing_is_said_to_cost_anything():
    with ScriptedChatServer([assistant("red")]) as server:
        assert ask(make(server)).cost == 0.0


def test_a_server_that_does_not_count_is_paid_by_estimate():
    with ScriptedChatServer([assistant("x" * 4000, usage=None)]) as server:
        client = make(server, prices=PRICES)
        completion = ask(client)
    assert (completion.prompt_tokens, completion.completion_tokens) == (0, 0)
    assert completion.cost == pytest.approx(10_000e-6, rel=0.01)


def test_a_reply_without_a_turn_is_paid_for_as_well():
    with ScriptedChatServer([null_content(), assistant("red")]) as server:
        client = make(server, prices=PRICES)
        completion = ask(client)
    assert completion.cost == pytest.approx(57e-6)
    assert client.usage.cost == pytest.approx(2 * 57e-6)
    assert (client.usage.requests, client.usage.retries, client.usage.completions) == (2, 1, 1)


def test_nothing_is_sent_once_the_money_is_used_up():
    with ScriptedChatServer(lambda request: assistant("red", usage=(1000, 100))) as server:
        client = make(server, prices=PRICES, max_cost=0.01)  # five such requests
        with pytest.raises(BudgetExceededError, match=r"the budget of \$0.01 does not allow another request"):
            for _ in range(10):
                ask(client)
        sent = len(server.requests)
        with pytest.raises(BudgetExceededError):
            ask(client)
    assert len(server.requests) == sent
    assert 3 <= sent <= 5
    assert client.usage.cost <= 0.01


def test_requests_under_way_are_counted_before_they_are_paid():
    release = threading.Event()

    def script(request):
        release.wait(10)
        return assistant("red", usage=(4, 100))

    async def crowd(client):
        tasks = [asyncio.create_task(client.complete(QUESTION, max_tokens=100)) for _ in range(50)]
        while sum(task.done() for task in tasks) < 40:  # the others are under way
            await asyncio.sleep(0.01)
        release.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with ScriptedChatServer(script) as server:
        client = make(server, prices={"input": 0.0, "output": 100.0}, max_cost=0.1, concurrency=50)
        results = asyncio.run(crowd(client))
    assert len(server.requests) == 10
    assert sum(isinstance(result, BudgetExceededError) for result in results) == 40
    assert client.usage.cost == pytest.approx(0.1)


def test_a_retry_is_not_sent_without_money():
    with ScriptedChatServer(lambda request: assistant(None, usage=(1000, 100))) as server:
        client = make(server, prices=PRICES, max_cost=0.002, max_retries=9)
        with pytest.raises(BudgetExceededError):
            ask(client)
    assert len(server.requests) == 1


def test_one_budget_can_serve_several_clients_and_go_on_from_an_earlier_run():
    budget = CostBudget(100e-6, spent=40e-6)
    with ScriptedChatServer(lambda request: assistant("red", usage=(7, 5))) as server:
        one, other = (make(server, prices=PRICES, budget=budget) for _ in range(2))
        ask(one, max_tokens=4)
        with pytest.raises(BudgetExceededError):
            ask(other, max_tokens=4)
    assert budget.spent == pytest.approx(97e-6)


def test_a_budget_without_prices_is_refused():
    with ScriptedChatServer([]) as server, pytest.raises(ConfigError, match="needs prices"):
        make(server, budget=CostBudget(1.0))
    with pytest.raises(ConfigError, match="dollars above 0"):
        CostBudget(0.0)


def test_totals_tell_what_happened(jumps):
    script = [assistant("red"), rate_limited(1.0), assistant("red"), failure(400)]
    with ScriptedChatServer(script) as server:
        client = make(server, jumps, prices=PRICES)
        ask(client)
        before = client.usage
        ask(client)
        step = client.usage - before
        with pytest.raises(ChatError):
            ask(client)
    assert (step.completions, step.requests, step.retries, step.rate_limited) == (1, 2, 1, 1)
    assert (step.prompt_tokens, step.completion_tokens, step.failures) == (7, 5, 0)
    assert step.seconds == pytest.approx(1.0)
    assert step.cost == pytest.approx(57e-6)
    assert (client.usage.completions, client.usage.failures, client.usage.requests) == (2, 1, 4)
    assert ChatUsage(requests=1, cost=0.5) + ChatUsage(requests=2) == ChatUsage(requests=3, cost=0.5)


def test_health_tells_since_when_a_server_is_down(jumps):
    replies = iter([assistant("red"), failure(500), failure(500), failure(401), assistant("red")])
    with ScriptedChatServer(lambda request: next(replies)) as server:
        client = make(server, jumps, max_retries=1, backoff=1.0)
        assert client.health == ChatHealth()
        ask(client)
        assert client.health.down_since is None
        fell = jumps.clock.wall()
        with pytest.raises(ChatError):
            ask(client)
        jumps.time += 300
        first = client.health
        with pytest.raises(ChatError):
            ask(client)
        second = client.health
        ask(client)
        last = client.health
    assert (first.consecutive_failures, first.down_since) == (1, fell)
    assert first.down_seconds == pytest.approx(300, abs=2)
    assert "HTTP 500" in first.last_error
    assert (second.consecutive_failures, second.down_since) == (2, fell)
    assert "HTTP 401" in second.last_error
    assert (last.consecutive_failures, last.down_since, last.down_seconds) == (0, None, 0.0)


def test_a_server_is_down_from_the_first_failed_try_on_while_it_is_still_tried(jumps):
    seen = []

    def script(request):
        seen.append(client.health)
        return failure(503)

    with ScriptedChatServer(script) as server:
        client = make(server, jumps, max_retries=2, backoff=10.0)
        with pytest.raises(ChatError):
            ask(client)
    assert [health.down_since is not None for health in seen] == [False, True, True]
    assert seen[2].down_seconds > seen[1].down_seconds > 0
    assert seen[2].consecutive_failures == 0


@pytest.mark.parametrize(
    "reply", [failure(400), failure(413), failure(422), assistant(None, refusal="No.")], ids=["400", "413", "422", "no"]
)
def test_a_refusal_of_one_request_says_nothing_about_the_server(reply):
    with ScriptedChatServer([reply]) as server:
        client = make(server)
        with pytest.raises(ChatError):
            ask(client)
    assert client.health == ChatHealth()
    assert client.usage.failures == 1
