"""The channel that feeds the scoring agent loses nothing when Faust's flow resumes."""

import asyncio

import faust

from sluicegate.streaming.channel import StreamChannel


def _channel() -> tuple[faust.App, StreamChannel, StreamChannel]:
    app = faust.App("channel", broker="kafka://127.0.0.1:1")
    channel = StreamChannel(app, maxsize=4)
    return app, channel, channel.clone(is_iterator=True)


def test_what_lies_in_the_channel_survives_a_flow_that_resumes() -> None:
    async def story() -> None:
        app, channel, agent = _channel()
        app.flow_control.resume()
        await channel.put("first")
        app.flow_control.resume()  # as Faust does after it has said that the tables are restored
        assert channel.waiting
        assert await asyncio.wait_for(agent.queue.get(), 1) == "first"
        assert not channel.waiting

    asyncio.run(story())


def test_a_channel_of_fausts_own_would_lose_it() -> None:
    async def story() -> None:
        app, _, _ = _channel()
        channel = app.channel(maxsize=4)
        agent = channel.clone(is_iterator=True)
        app.flow_control.resume()
        await channel.put("first")
        app.flow_control.resume()
        assert agent.queue.empty()

    asyncio.run(story())


def test_while_the_flow_is_suspended_the_reader_waits() -> None:
    async def story() -> None:
        app, channel, agent = _channel()
        app.flow_control.suspend()
        put = asyncio.ensure_future(channel.put("first"))
        await asyncio.sleep(0)
        assert not put.done()
        app.flow_control.resume()
        assert await asyncio.wait_for(agent.queue.get(), 1) == "first"

    asyncio.run(story())
