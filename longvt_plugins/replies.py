"""What a model reads of its calls, the same in training and in evaluation: replies that fit, refusals that are short.

::

    replies = Replies(context.budget, ledger)
    replies.answer(lambda: plugins.call_tool(tool, context, call))      # blocks, or "Error: ..." in one
    replies.answer(..., last=True)                                      # the next turn must answer: no call is run
    replies.fault("the arguments must be a JSON object")                # a call that no tool can be given

Every reply is counted in the budget. A video or a tool that breaks is for the caller to meet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from longvt_plugins.budget import ANSWER_NOW, NO_TURN_LEFT, REFUSAL_TOKENS, Budget
from longvt_plugins.errors import ToolError
from longvt_plugins.ledger import REFUSED, Ledger
from longvt_plugins.transcript import error_reply
from longvt_plugins.types import Block, text_block


@dataclass
class Replies:
    """The replies of one rollout.

    Args:
        budget: Of the rollout, which its tools ask too.
        ledger: Keeps the replies within the room of a conversation; None leaves them as long as they are.

    Attributes:
        errors: Calls so far that were the model's mistake.
    """

    budget: Budget
    ledger: Ledger | None = None
    errors: int = 0
    _told_to_answer: bool = field(default=False, init=False)

    def answer(self, run: Callable[[], list[Block]], *, last: bool = False) -> list[Block]:
        """The reply to a call.

        Args:
            run: Runs the tool; the :class:`ToolError` that it raises is told to the model, anything else is raised.
            last: The turn is the last one that gets replies: the call is not run, and not counted.
        """
        earlier = self.budget.calls
        try:
            if last and self.budget.may_call:
                raise ToolError(NO_TURN_LEFT)
            reply = run()
            if self.ledger is not None:
                reply = self.ledger.close(reply, self.budget)
        except ToolError as error:
            reply = self._refusal(str(error), counted=self.budget.calls > earlier)
        self.budget.spend(reply)
        return reply

    def fault(self, reason: str, *, last: bool = False) -> list[Block]:
        """The reply to what is no call that could be run; it is none of the calls that the budget counts.

        Args:
            reason: What is wrong with it.
            last: As for :meth:`answer`.
        """
        reply = self._refusal(NO_TURN_LEFT if last else reason, counted=False)
        self.budget.spend(reply)
        return reply

    def _refusal(self, reason: str, *, counted: bool) -> list[Block]:
        self.errors += 1
        to_answer = reason.endswith(ANSWER_NOW)
        if to_answer and self._told_to_answer:
            # A turn may hold several calls: once is enough, and the ledger keeps little room for the others.
            return _error(REFUSED)
        self._told_to_answer = self._told_to_answer or to_answer
        reply = _error(reason)
        if self.ledger is not None and self.ledger.count(reply) > REFUSAL_TOKENS:
            reply = _error("the call cannot be used")
        if not counted and not to_answer and self.budget.excess(reply):
            return _error(REFUSED)  # room is kept for those that are counted alone
        return reply


def _error(reason: str) -> list[Block]:
    return [text_block(error_reply(reason))]
