"""Charts say in words what they draw, and hold no text that could be markup."""

from __future__ import annotations

from sluicegate.desk.charts import Day, Peer, flow_chart, peer_graph

NAMES = ("in", "out", "kept")


def test_a_flow_chart_tells_its_sums() -> None:
    days = [Day("03-01", 500_00, 100_00), Day("03-02", 0, 300_00)]
    drawn = flow_chart(days, "Flow", NAMES)
    assert 'aria-label="Flow: in 500.00; out 400.00; kept 100.00"' in drawn
    assert drawn.count("<rect") == 4
    assert "style=" not in drawn


def test_an_empty_flow_is_drawn_without_a_fault() -> None:
    assert "0.00" in flow_chart([Day("03-01", 0, 0)], "Flow", NAMES)
    assert "<svg" in flow_chart([], "Flow", NAMES)


def test_a_graph_shows_the_largest_peers_and_escapes_them() -> None:
    peers = [Peer(f"A{n}", n * 100, 1, is_payer=True) for n in range(1, 9)]
    peers.append(Peer("<b>", 5_000, 3, is_payer=False))
    drawn = peer_graph(peers, "Peers", "this")
    assert drawn.count('class="edge inflow"') == 6
    assert "A1 " not in drawn.partition(">")[2]
    assert "<b>" not in drawn
    assert "&lt;b&gt; 50.00 ×3" in drawn  # noqa: RUF001 - times
