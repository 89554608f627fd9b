"""The channel between the reader's thread and the scoring agent."""

from typing import Any

import faust


class StreamChannel(faust.Channel):
    """A Faust channel from which nothing is ever cleared.

    Faust's own is emptied whenever the flow of its consumer resumes, which happens after it has
    said that the tables are restored: what the reader had brought by then would be lost. This one
    still waits while the flow is suspended.
    """

    _queue: Any

    @property
    def queue(self) -> Any:  # noqa: ANN401 - Faust is untyped here
        """The queue behind the channel, or behind one of its iterators."""
        if self._queue is None:
            self._queue = self.app.FlowControlQueue(maxsize=self.maxsize, clear_on_resume=False)
        return self._queue

    @property
    def waiting(self) -> bool:
        """Whether something is waiting for the agent: a backlog exists."""
        return any(not each.queue.empty() for each in self._subscribers)
