"""The Grafana dashboards, built with grafana-foundation-sdk: `python -m tools.dashboards`.

It writes config/grafana/dashboards/*.json, which a test holds to be fresh.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    LegendDisplayMode,
    LegendPlacement,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef

FOLDER: Final = Path(__file__).parents[1] / "config" / "grafana" / "dashboards"
SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
WIDTH: Final = 24
Kind = Literal["stat", "lines", "bars"]
Query = tuple[str, str]
"""PromQL, and the legend of its series."""


@dataclass(frozen=True)
class Panel:
    """One picture: its title in Chinese and English, Grafana's unit, what is asked."""

    kind: Kind
    zh: str
    en: str
    unit: str
    queries: tuple[Query, ...]
    span: int = 8
    height: int = 7


def _stat(zh: str, en: str, unit: str, query: str, span: int = 4) -> Panel:
    return Panel("stat", zh, en, unit, ((query, ""),), span, 4)


def _lines(zh: str, en: str, unit: str, *queries: Query, span: int = 8) -> Panel:
    return Panel("lines", zh, en, unit, queries, span)


def _bars(zh: str, en: str, unit: str, *queries: Query, span: int = 8) -> Panel:
    return Panel("bars", zh, en, unit, queries, span)


def _quantiles(metric: str, by: str = "") -> tuple[Query, ...]:
    labels = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return tuple(
        (
            f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket[5m])))",
            f"{name}{legend}",
        )
        for q, name in ((0.5, "p50"), (0.99, "p99"))
    )


OVERVIEW: Final = (
    _stat("未就绪部分", "Parts not ready", "short", "count(sluicegate_ready == 0) or vector(0)"),
    _stat(
        "触发的告警",
        "Alerts of operation",
        "short",
        'count(ALERTS{alertstate="firing"}) or vector(0)',
    ),
    _stat("每秒交易", "Transactions a second", "short", "sluicegate:transactions:rate5m"),
    _stat(
        "最近一笔",
        "Since the last transaction",
        "s",
        "time() - max(sluicegate_router_read_timestamp_seconds)",
    ),
    _stat("最大滞后", "Furthest behind", "s", "max(sluicegate:lag_seconds)"),
    _stat("1 秒内完成", "Judged within 1 s", "percentunit", "1 - sluicegate:judged_late:ratio5m"),
    _lines(
        "进来的交易",
        "What comes in",
        "short",
        ("sluicegate:transactions:rate5m", "交易 transactions"),
        ("sum by (side) (rate(sluicegate_worker_legs_total[5m]))", "{{side}}"),
    ),
    _lines(
        "预警（每小时）",
        "Alerts an hour",
        "short",
        ("3600 * sum by (measure) (rate(sluicegate_worker_alerts_total[5m]))", "{{measure}}"),
    ),
    _lines(
        "预警占比与平日",
        "Share of alerts, and as usual",
        "percentunit",
        ("sluicegate:alert_share:rate1h", "现在 now"),
        ("sluicegate:alert_share:usual", "平日 usual"),
    ),
    _bars(
        "一小时内的规则",
        "Patterns of the last hour",
        "short",
        (
            "topk(10, sum by (pattern) (increase(sluicegate_worker_reasons_total[1h])))",
            "{{pattern}}",
        ),
    ),
    _bars(
        "柜面答复",
        "Verdicts at the counter",
        "short",
        ("sum by (verdict) (increase(sluicegate_counter_checks_total[1h]))", "{{verdict}}"),
    ),
    _lines(
        "拒收",
        "Refused",
        "short",
        (
            "sum by (reason) (rate(sluicegate_router_refused_total[5m])) > 0 or sum(rate(sluicegate_router_refused_total[5m]))",
            "{{reason}}",
        ),
    ),
)

PIPELINE: Final = (
    _lines(
        "等待读取",
        "Wait to be read",
        "short",
        ("sum by (partition) (sluicegate_router_lag_records)", "{{partition}}"),
    ),
    _lines(
        "router 滞后",
        "Router behind",
        "s",
        ("sluicegate_router_lag_seconds", "{{partition}}"),
        ("sluicegate_router_alignment_seconds", "分区差 alignment"),
    ),
    _lines(
        "已发未处理",
        "Routed, not applied",
        "short",
        ("sluicegate_router_lead_transactions", "交易 transactions"),
        ("sluicegate_router_unapplied_batches", "{{partition}}"),
    ),
    _lines(
        "等待处理（批次）",
        "Batches wait",
        "short",
        ("sluicegate_worker_lag_records", "{{partition}}"),
    ),
    _lines(
        "worker 滞后", "Workers behind", "s", ("sluicegate_worker_lag_seconds", "{{partition}}")
    ),
    _lines(
        "各阶段用时", "Age at each stage", "s", *_quantiles("sluicegate_stage_seconds", "stage")
    ),
    _lines("端到端用时", "End to end", "s", *_quantiles("sluicegate_transaction_seconds")),
    _lines(
        "每批用时",
        "Time a batch takes",
        "s",
        *(
            (query, f"router {name}")
            for query, name in _quantiles("sluicegate_router_batch_seconds")
        ),
        *(
            (query, f"worker {name}")
            for query, name in _quantiles("sluicegate_worker_batch_seconds")
        ),
    ),
    _lines(
        "检查点用时", "Checkpoints take", "s", *_quantiles("sluicegate_worker_checkpoint_seconds")
    ),
    _lines(
        "检查点停顿",
        "Checkpoints hold the stream up",
        "s",
        *_quantiles("sluicegate_worker_checkpoint_pause_seconds"),
    ),
    _lines(
        "检查点写入",
        "Checkpoints write",
        "Bps",
        ("sum(rate(sluicegate_worker_checkpoint_bytes_total[5m]))", "字节 bytes"),
    ),
    _lines(
        "检查点行数",
        "Rows in checkpoints",
        "short",
        ("sum(rate(sluicegate_worker_checkpoint_rows_total[5m]))", "行 rows"),
    ),
    _lines(
        "距上次检查点",
        "Since the last checkpoint",
        "s",
        ("time() - sluicegate_worker_checkpoint_timestamp_seconds", "{{partition}}"),
    ),
    _lines(
        "未裁剪的 changelog",
        "Changelog since it was trimmed",
        "bytes",
        ("sluicegate_worker_untrimmed_bytes", "{{partition}}"),
    ),
    _lines(
        "恢复用时",
        "Recovery takes",
        "s",
        (
            "sum(sluicegate_worker_restore_seconds_sum) / sum(sluicegate_worker_restore_seconds_count)",
            "平均 mean",
        ),
    ),
    _lines(
        "重复、迟到、作废",
        "Repeats, late, fenced",
        "short",
        ("sum(rate(sluicegate_router_repeats_total[5m]))", "银行重复 bank's repeats"),
        ("sum(rate(sluicegate_worker_repeats_total[5m]))", "重放 replayed"),
        ("sum(rate(sluicegate_worker_late_legs_total[5m]))", "迟到 late"),
        ("sum(rate(sluicegate_worker_too_late_legs_total[5m]))", "过迟 too late"),
        ("sum(rate(sluicegate_worker_fenced_checkpoints_total[5m]))", "作废检查点 fenced"),
    ),
    _stat("缺口", "Holes", "short", "sum(sluicegate_worker_gap) or vector(0)"),
    _stat("已修复缺口", "Holes repaired", "short", "sum(sluicegate_worker_gaps_repaired_total)"),
    _stat("活动 router", "Active routers", "short", "sum(sluicegate_router_active)"),
    _stat(
        "router 等待",
        "Router held back",
        "percentunit",
        "sum(rate(sluicegate_router_held_seconds_total[5m]))",
    ),
    _lines("内存", "Memory", "bytes", ("process_resident_memory_bytes", "{{job}} {{instance}}")),
    _lines(
        "CPU", "CPU", "percentunit", ("rate(process_cpu_seconds_total[5m])", "{{job}} {{instance}}")
    ),
    _lines(
        "版本",
        "Versions",
        "short",
        ("sum by (version, part) (sluicegate_build_info)", "{{part}} {{version}}"),
    ),
)

SCORING: Final = (
    _stat("账户", "Accounts", "short", "sum(sluicegate_worker_accounts)"),
    _stat(
        "每账户字节",
        "Bytes an account",
        "bytes",
        "sum(sluicegate_worker_memory_bytes) / sum(sluicegate_worker_accounts)",
    ),
    _stat(
        "容量占用",
        "Room used",
        "percentunit",
        "max(sluicegate_worker_accounts) / min(sluicegate_worker_accounts_capacity)",
    ),
    _stat("索引占用", "Index load", "percentunit", "max(sluicegate_worker_table_load)"),
    _stat(
        "规则集",
        "Pattern sets in force",
        "short",
        "count(count by (version) (sluicegate_pattern_set_info))",
    ),
    _stat(
        "研判失败",
        "Judgements that failed",
        "short",
        "sum(increase(sluicegate_worker_unjudged_total[1h]))",
    ),
    _lines(
        "研判（每秒）",
        "Judged a second",
        "short",
        ("sum(rate(sluicegate_transaction_seconds_count[5m]))", "交易 transactions"),
        ("sum by (side) (rate(sluicegate_worker_legs_total[5m]))", "{{side}}"),
        ("sum(rate(sluicegate_worker_arrivals_sent_total[5m]))", "转出 sent on"),
    ),
    _lines(
        "各规则预警（每小时）",
        "Alerts by pattern, an hour",
        "short",
        ("3600 * sum by (pattern) (rate(sluicegate_worker_reasons_total[5m]))", "{{pattern}}"),
        span=16,
    ),
    _bars(
        "规则与措施",
        "Patterns and measures",
        "short",
        (
            "topk(15, sum by (pattern, measure) (sluicegate_worker_reasons_total))",
            "{{pattern}} {{measure}}",
        ),
        span=12,
    ),
    _lines(
        "白名单抑制",
        "Weakened by whitelists",
        "short",
        ("sum(rate(sluicegate_worker_suppressed_total[5m]))", "笔 legs"),
        span=6,
    ),
    _lines(
        "各分区账户",
        "Accounts by partition",
        "short",
        ("sluicegate_worker_accounts", "{{partition}}"),
        span=6,
    ),
    _lines(
        "影子规则触发",
        "Patterns in shadow",
        "short",
        (
            "sum by (pattern) (rate(sluicegate_worker_shadow_fired_total[5m])) or vector(0)",
            "{{pattern}}",
        ),
    ),
)

COUNTER_AND_DESK: Final = (
    _lines(
        "核查（每秒）",
        "Checks a second",
        "short",
        ("sum by (verdict) (rate(sluicegate_counter_checks_total[5m]))", "{{verdict}}"),
    ),
    _lines("核查用时", "Checks take", "s", *_quantiles("sluicegate_counter_check_seconds")),
    _lines(
        "降级答复",
        "Answered by policy",
        "short",
        ("sum by (why) (rate(sluicegate_counter_degraded_total[5m]))", "{{why}}"),
    ),
    _lines(
        "拒绝的请求",
        "Requests refused",
        "short",
        ("sum by (problem) (rate(sluicegate_counter_refused_total[5m]))", "{{problem}}"),
    ),
    _stat(
        "有主分区", "Partitions with an owner", "short", "min(sluicegate_counter_owned_partitions)"
    ),
    _stat(
        "转专席",
        "Referred in an hour",
        "short",
        'sum(increase(sluicegate_counter_checks_total{verdict="refer"}[1h]))',
    ),
    _bars(
        "核查结果",
        "How checks ended",
        "short",
        ("sum by (outcome) (sluicegate_counter_outcomes_total)", "{{outcome}}"),
    ),
    _lines(
        "入库预警（每小时）",
        "Alerts stored an hour",
        "short",
        ("3600 * sum(rate(sluicegate_liaison_stored_total[5m]))", "新 new"),
        ("3600 * sum(rate(sluicegate_liaison_repeats_total[5m]))", "重复 repeats"),
        ("3600 * sum(rate(sluicegate_counter_alerts_total[5m]))", "柜面 counter's"),
    ),
    _lines(
        "待入库", "Wait to be stored", "short", ("sluicegate_liaison_lag_records", "{{partition}}")
    ),
    _lines(
        "入库失败",
        "Attempts that failed",
        "short",
        ("sum(increase(sluicegate_liaison_failures_total[5m]))", "失败 failures"),
        ("sum by (reason) (increase(sluicegate_liaison_unreadable_total[5m]))", "{{reason}}"),
    ),
    _lines(
        "专席页面用时", "Pages of the desk take", "s", *_quantiles("sluicegate_desk_page_seconds")
    ),
    _lines(
        "专席在线",
        "Browsers at the desk",
        "short",
        ("sum(sluicegate_desk_live_clients)", "浏览器 browsers"),
    ),
    _lines(
        "专席指令",
        "Orders of the desk",
        "short",
        ("sum by (topic) (rate(sluicegate_desk_sent_total[5m]))", "{{topic}}"),
        ("sum by (answer) (rate(sluicegate_desk_answers_total[5m]))", "{{answer}}"),
        ("sum(rate(sluicegate_desk_failures_total[5m]))", "失败 failures"),
    ),
    _lines(
        "专席时限",
        "Clocks of the desk",
        "short",
        ("sum by (level, state) (sluicegate_desk_clocks)", "{{level}} {{state}}"),
    ),
)

LEVELS: Final = tuple(
    panel
    for zh, en, name, promised in (
        ("1 秒内研判", "Judged within 1 s", "judged_late", 0.001),
        ("50 毫秒内核查", "Checked within 50 ms", "check_slow", 0.01),
    )
    for panel in (
        _stat(f"{zh}：5 分钟", f"{en}: 5 min", "percentunit", f"1 - sluicegate:{name}:ratio5m", 6),
        _stat(
            f"{zh}：30 天", f"{en}: 30 days", "percentunit", f"1 - sluicegate:{name}:ratio30d", 6
        ),
        _stat(
            "剩余错误预算", "Error budget left", "percentunit", f"sluicegate:{name}:budget_left", 6
        ),
        _stat("消耗速度", "Burn rate, 1 h", "short", f"sluicegate:{name}:ratio1h / {promised}", 6),
        _lines(
            f"{zh}：消耗速度",
            f"{en}: burn rate",
            "short",
            *(
                (f"sluicegate:{name}:ratio{window} / {promised}", window)
                for window in ("5m", "30m", "1h", "6h", "3d")
            ),
            span=12,
        ),
        _lines(
            f"{zh}：预算",
            f"{en}: budget left",
            "percentunit",
            (f"sluicegate:{name}:budget_left", "剩余 left"),
            span=12,
        ),
    )
)

DASHBOARDS: Final[dict[str, tuple[str, tuple[Panel, ...]]]] = {
    "overview": ("值班总览 Overview", OVERVIEW),
    "pipeline": ("管道 Pipeline", PIPELINE),
    "scoring": ("研判 Scoring", SCORING),
    "counter-and-desk": ("柜面与专席 Counter and desk", COUNTER_AND_DESK),
    "service-levels": ("服务水平 Service levels", LEVELS),
}


def built(name: str) -> str:
    """One dashboard as Grafana reads it."""
    title, panels = DASHBOARDS[name]
    board = (
        dashboard.Dashboard(f"sluicegate: {title}")
        .uid(f"sluicegate-{name}")
        .tags(["sluicegate"])
        .readonly()
        .refresh("5s" if name == "overview" else "30s")
        .time("now-1h", "now")
        .timezone("browser")
    )
    for panel in panels:
        board.with_panel(_panel(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _panel(
    panel: Panel,
) -> timeseries.Panel | stat.Panel | bargauge.Panel:
    title = f"{panel.zh} {panel.en}"
    made: timeseries.Panel | stat.Panel | bargauge.Panel
    match panel.kind:
        case "lines":
            legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST)
            made = (
                timeseries.Panel()
                .fill_opacity(8)
                .min(0)
                .legend(legend.placement(LegendPlacement.BOTTOM).show_legend(show_legend=True))
            )
        case "stat":
            made = stat.Panel().color_mode(BigValueColorMode.NONE).reduce_options(_last())
        case "bars":
            made = bargauge.Panel().reduce_options(_last())
    made.title(title).datasource(SOURCE).unit(panel.unit).span(panel.span).height(panel.height)
    for target in _targets(panel.queries):
        made.with_target(target)
    return made


def _last() -> ReduceDataOptions:
    return ReduceDataOptions().calcs(["lastNotNull"])


def _targets(queries: Sequence[Query]) -> Iterator[prometheus.Dataquery]:
    for index, (query, legend) in enumerate(queries):
        target = prometheus.Dataquery().expr(query).ref_id(chr(ord("A") + index)).datasource(SOURCE)
        yield target.legend_format(legend) if legend else target


def main() -> None:
    """Writes them all."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(built(name), encoding="utf-8")


if __name__ == "__main__":
    main()
