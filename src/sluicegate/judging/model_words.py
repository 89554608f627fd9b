"""What a fitted model leans on, in the words of a reason: a template for each of its inputs."""

from collections.abc import Mapping
from math import isnan
from typing import Final

import numpy as np
import numpy.typing as npt

from sluicegate.domain.alert import Reason
from sluicegate.judging.model_inputs import OWN_NAMES
from sluicegate.judging.templates import Language, Template, parse_template

Floats = npt.NDArray[np.float64]

MODEL: Final = "model"
"""Begins the names of reasons that no pattern gave: model.payee.sources_24h."""
MOST_REASONS: Final = 3

_SIDES: Final[Mapping[str, Mapping[Language, str]]] = {
    "payer": {"zh": "付款账户 ", "en": "payer's account: "},
    "payee": {"zh": "收款账户 ", "en": "payee's account: "},
}
_PLAIN: Final[Mapping[str, tuple[str, str]]] = {
    "amount": ("本笔金额 {amount:money} 元", "{amount:money} moves"),
    "is_cash": ("是否现金 {is_cash:plain}", "cash (1) or not (0): {is_cash:plain}"),
    "local_hour": ("交易时刻约 {local_hour:plain} 时", "at about {local_hour:plain} o'clock"),
    "pair_new": (
        "与对手是否首次往来 {pair_new:plain}",
        "first time with this counterparty (1) or not (0): {pair_new:plain}",
    ),
    "age_days": ("首笔往来距今 {age_days:days}", "known for {age_days:days}"),
    "silent_days": ("此前静止 {silent_days:days}", "silent for {silent_days:days} before"),
    "since_inflow_s": (
        "距上次转入 {since_inflow_s:seconds}",
        "{since_inflow_s:seconds} since the latest inflow",
    ),
    "since_outflow_s": (
        "距上次转出 {since_outflow_s:seconds}",
        "{since_outflow_s:seconds} since the latest outflow",
    ),
    "inflow_count": ("累计转入 {inflow_count:count} 笔", "{inflow_count:count inflow} in its life"),
    "outflow_count": (
        "累计转出 {outflow_count:count} 笔",
        "{outflow_count:count outflow} in its life",
    ),
    "inflow_1h": ("1 小时内转入 {inflow_1h:money} 元", "{inflow_1h:money} in within 1 h"),
    "outflow_1h": ("1 小时内转出 {outflow_1h:money} 元", "{outflow_1h:money} out within 1 h"),
    "inflow_24h": ("24 小时内转入 {inflow_24h:money} 元", "{inflow_24h:money} in within 24 h"),
    "outflow_24h": ("24 小时内转出 {outflow_24h:money} 元", "{outflow_24h:money} out within 24 h"),
    "inflow_count_1h": (
        "1 小时内转入 {inflow_count_1h:count} 笔",
        "{inflow_count_1h:count inflow} within 1 h",
    ),
    "outflow_count_1h": (
        "1 小时内转出 {outflow_count_1h:count} 笔",
        "{outflow_count_1h:count outflow} within 1 h",
    ),
    "inflow_count_24h": (
        "24 小时内转入 {inflow_count_24h:count} 笔",
        "{inflow_count_24h:count inflow} within 24 h",
    ),
    "outflow_count_24h": (
        "24 小时内转出 {outflow_count_24h:count} 笔",
        "{outflow_count_24h:count outflow} within 24 h",
    ),
    "sources_8h": ("8 小时内 {sources_8h:count} 个付款方", "{sources_8h:count payer} within 8 h"),
    "targets_8h": ("8 小时内 {targets_8h:count} 个收款方", "{targets_8h:count payee} within 8 h"),
    "sources_24h": (
        "24 小时内 {sources_24h:count} 个付款方",
        "{sources_24h:count payer} within 24 h",
    ),
    "targets_24h": (
        "24 小时内 {targets_24h:count} 个收款方",
        "{targets_24h:count payee} within 24 h",
    ),
    "small_same_pair_24h": (
        "24 小时内与同一对手小额 {small_same_pair_24h:count} 笔",
        "{small_same_pair_24h:count small leg} with the same counterparty within 24 h",
    ),
    "pass_through_gap_24h": (
        "与 24 小时内反向合计相差 {pass_through_gap_24h:percent}",
        "within {pass_through_gap_24h:percent} of what moved the other way in 24 h",
    ),
    "pass_through_legs_24h": (
        "相近的反向往来 {pass_through_legs_24h:count} 笔",
        "matched by {pass_through_legs_24h:count leg} the other way",
    ),
    "covered_1h": (
        "{covered_1h:percent} 来自 1 小时内转入",
        "{covered_1h:percent} of it came in within 1 h",
    ),
    "covered_24h": (
        "{covered_24h:percent} 来自 24 小时内转入",
        "{covered_24h:percent} of it came in within 24 h",
    ),
    "covered_3d": (
        "{covered_3d:percent} 来自 3 天内转入",
        "{covered_3d:percent} of it came in within 3 days",
    ),
    "passed_on_1h": (
        "1 小时内转入的 {passed_on_1h:percent} 已转出",
        "{passed_on_1h:percent} of the inflows of 1 h has left again",
    ),
    "chain_depth": (
        "资金已连续流转 {chain_depth:count} 手",
        "the money has made {chain_depth:count hop}",
    ),
    "inflow_7d": ("7 日转入 {inflow_7d:money} 元", "{inflow_7d:money} in within 7 days"),
    "outflow_7d": ("7 日转出 {outflow_7d:money} 元", "{outflow_7d:money} out within 7 days"),
    "inflow_count_7d": (
        "7 日转入 {inflow_count_7d:count} 笔",
        "{inflow_count_7d:count inflow} within 7 days",
    ),
    "outflow_count_7d": (
        "7 日转出 {outflow_count_7d:count} 笔",
        "{outflow_count_7d:count outflow} within 7 days",
    ),
    "large_inflows_10d": (
        "10 日内大额转入 {large_inflows_10d:count} 笔",
        "{large_inflows_10d:count large inflow} within 10 days",
    ),
    "large_outflows_10d": (
        "10 日内大额转出 {large_outflows_10d:count} 笔",
        "{large_outflows_10d:count large outflow} within 10 days",
    ),
    "band_inflows_10d": (
        "10 日内略低于报告线的转入 {band_inflows_10d:count} 笔",
        "{band_inflows_10d:count inflow} just below a reporting line within 10 days",
    ),
    "band_outflows_10d": (
        "10 日内略低于报告线的转出 {band_outflows_10d:count} 笔",
        "{band_outflows_10d:count outflow} just below a reporting line within 10 days",
    ),
    "largest_inflow_91d": (
        "此前三个月最大转入 {largest_inflow_91d:money} 元",
        "largest inflow of three months {largest_inflow_91d:money}",
    ),
    "largest_outflow_91d": (
        "此前三个月最大转出 {largest_outflow_91d:money} 元",
        "largest outflow of three months {largest_outflow_91d:money}",
    ),
    "amount_z": (
        "金额偏离自身习惯 {amount_z:plain} 个标准差",
        "amount {amount_z:plain} standard deviations from its own habit",
    ),
    "new_source_share": (
        "近期转入中新付款方占 {new_source_share:percent}",
        "{new_source_share:percent} of recent inflows from new payers",
    ),
    "new_target_share": (
        "近期转出中新收款方占 {new_target_share:percent}",
        "{new_target_share:percent} of recent outflows to new payees",
    ),
    "suspicion_in": (
        "近期转入中即转即收给新户的占 {suspicion_in:percent}",
        "{suspicion_in:percent} of recent inflows were fresh money from new payers",
    ),
    "suspicion_out": (
        "近期转出中即收即转给新户的占 {suspicion_out:percent}",
        "{suspicion_out:percent} of recent outflows were fresh money to new payees",
    ),
    "sources_1h": ("1 小时内 {sources_1h:count} 个付款方", "{sources_1h:count payer} within 1 h"),
    "targets_1h": ("1 小时内 {targets_1h:count} 个收款方", "{targets_1h:count payee} within 1 h"),
    "sources_10d": (
        "10 天内 {sources_10d:count} 个付款方",
        "{sources_10d:count payer} within 10 days",
    ),
    "targets_10d": (
        "10 天内 {targets_10d:count} 个收款方",
        "{targets_10d:count payee} within 10 days",
    ),
    "same_pair_5d": (
        "5 天内与该对手往来 {same_pair_5d:money} 元",
        "{same_pair_5d:money} with this counterparty within 5 days",
    ),
    "same_pair_near_7d": (
        "7 天内与该对手金额相近 {same_pair_near_7d:count} 笔",
        "{same_pair_near_7d:count leg} of about this amount with this counterparty within 7 days",
    ),
    "similar_24h": (
        "24 小时内金额相近 {similar_24h:count} 笔",
        "{similar_24h:count leg} of about this amount within 24 h",
    ),
    "similar_last_3": (
        "最近 3 笔中金额相近 {similar_last_3:count} 笔",
        "{similar_last_3:count leg} of the latest 3 of about this amount",
    ),
    "small_legs_1h": (
        "1 小时内小额 {small_legs_1h:count} 笔",
        "{small_legs_1h:count small leg} within 1 h",
    ),
    "burst_10d": (
        "此前 10 天往来 {burst_10d:money} 元",
        "{burst_10d:money} moved in the 10 days up to the movement before",
    ),
    "burst_legs_10d": (
        "此前 10 天往来 {burst_legs_10d:count} 笔",
        "{burst_legs_10d:count leg} in the 10 days up to the movement before",
    ),
    "circle": ("60 天内往来约 {circle:count} 个对手", "a circle of about {circle:count account}"),
    "returned_24h": (
        "{returned_24h:percent} 是 24 小时内从该对手收到的",
        "{returned_24h:percent} of it had come from this counterparty within 24 h",
    ),
    "mule": ("过账迹象合计 {mule:plain}", "signs of a mule {mule:plain}"),
    "collector": ("集散迹象合计 {collector:plain}", "signs of a collector {collector:plain}"),
    "sleeper": ("沉睡迹象合计 {sleeper:plain}", "signs of a sleeper {sleeper:plain}"),
    "mule_rarity": (
        "像过账户的罕见度 {mule_rarity:plain} 级 每级少见十倍",
        "rare as a mule {mule_rarity:plain} (3 is one in 1,000)",
    ),
    "collector_rarity": (
        "像集散户的罕见度 {collector_rarity:plain} 级 每级少见十倍",
        "rare as a collector {collector_rarity:plain} (3 is one in 1,000)",
    ),
    "sleeper_rarity": (
        "像沉睡户的罕见度 {sleeper_rarity:plain} 级 每级少见十倍",
        "rare as a sleeper {sleeper_rarity:plain} (3 is one in 1,000)",
    ),
    "turnover_30d": (
        "本期 30 天往来 {turnover_30d:money} 元",
        "{turnover_30d:money} moved in this block of 30 days",
    ),
    "turnover_before_30d": (
        "上期 30 天往来 {turnover_before_30d:money} 元",
        "{turnover_before_30d:money} moved in the block of 30 days before",
    ),
    "turnover_before_60d": (
        "前期 30 天往来 {turnover_before_60d:money} 元",
        "{turnover_before_60d:money} moved in the block of 30 days before that",
    ),
    "day_count_z": (
        "当日笔数偏离习惯 {day_count_z:plain} 个标准差",
        "number of legs today {day_count_z:plain} standard deviations from its habit",
    ),
    "night_share": (
        "近期夜间往来占 {night_share:percent}",
        "{night_share:percent} of recent legs at night",
    ),
    "round_share": (
        "近期整千金额占 {round_share:percent}",
        "{round_share:percent} of recent amounts are whole thousands",
    ),
    "benford": (
        "首位数字偏离常态 卡方 {benford:plain}",
        "leading digits off by chi-squared {benford:plain}",
    ),
    "holder_age": ("持有人约 {holder_age:plain} 岁", "holder about {holder_age:plain} years old"),
    "open_days": ("开户 {open_days:days}", "opened {open_days:days} ago"),
    "declared_income": (
        "申报月收入 {declared_income:money} 元",
        "declared income {declared_income:money} a month",
    ),
    "sources_60d": (
        "60 天内约 {sources_60d:count} 个付款方",
        "about {sources_60d:count payer} in 60 days",
    ),
    "targets_60d": (
        "60 天内约 {targets_60d:count} 个收款方",
        "about {targets_60d:count payee} in 60 days",
    ),
}
_NONE: Final[Mapping[str, tuple[str, str]]] = {
    "age_days": ("此前无任何往来", "no movement before"),
    "silent_days": ("此前无任何往来", "no movement before"),
    "since_inflow_s": ("此前无转入", "no inflow before"),
    "since_outflow_s": ("此前无转出", "no outflow before"),
    "pass_through_gap_24h": ("24 小时内无反向往来", "nothing went the other way within 24 h"),
    "pass_through_legs_24h": ("24 小时内无反向往来", "nothing went the other way within 24 h"),
    "passed_on_1h": ("1 小时内无转入", "no inflow within 1 h"),
    "largest_inflow_91d": ("此前三个月无转入", "no inflow in the three months before"),
    "largest_outflow_91d": ("此前三个月无转出", "no outflow in the three months before"),
    "amount_z": ("往来太少无从比较", "too few movements to have a habit"),
    "day_count_z": ("往来太少无从比较", "too few days to have a habit"),
    "benford": ("往来太少无从比较", "too few movements to have a habit"),
}
"""What it means that a number is not there."""
_PAST: Final[Mapping[str, tuple[str, str]]] = {
    "past_out": ("近期转出累计得分 {:.2f}", "scores of recent outflows add up to {:.2f}"),
    "past_in": ("近期转入累计得分 {:.2f}", "scores of recent inflows add up to {:.2f}"),
}


def _decayed(name: str) -> tuple[str, str]:
    side, what, _, scale = name.split("_")
    kind = "count" if what == "count" else "money"
    zh = "转入" if side == "inflow" else "转出"
    unit = "笔" if what == "count" else "元"
    return (
        f"近 {scale} 加权{zh} {{{name}:{kind}}} {unit}",
        f"weighted {what} of {side}s of about {scale}: {{{name}:{kind}}}",
    )


def _templates() -> dict[str, tuple[Template, Template]]:
    decayed = [name for name in OWN_NAMES if "_decayed_" in name]
    texts = {**_PLAIN, **{name: _decayed(name) for name in decayed}}
    return {
        name: (parse_template(zh, "zh"), parse_template(en, "en"))
        for name, (zh, en) in texts.items()
    }


_TEMPLATES: Final = _templates()


def words_of(name: str, value: float) -> tuple[str, str]:
    """What an input (`payer.sources_24h`) says, in Chinese and English; NaN is unknown.

    A feature without words of its own is said by its name.
    """
    side, _, feature = name.partition(".")
    zh, en = _said(feature, value)
    return _SIDES[side]["zh"] + zh, _SIDES[side]["en"] + en


def _said(feature: str, value: float) -> tuple[str, str]:
    if isnan(value) and feature in _NONE:
        return _NONE[feature]
    if feature in _PAST:
        zh, en = _PAST[feature]
        return zh.format(value), en.format(value)
    if feature not in _TEMPLATES:
        return f"{feature} {value:.6g}", f"{feature} {value:.6g}"
    zh_template, en_template = _TEMPLATES[feature]
    return zh_template.fill(lambda _: value), en_template.fill(lambda _: value)


def model_reasons(
    names: tuple[str, ...], values: Floats, contributions: Floats, probability: float
) -> tuple[Reason, ...]:
    """The inputs that raise a probability most, strongest first.

    Their strengths share it out by contribution: `1 - prod(1 - strength)` is the probability.

    Args:
        names: Of the inputs.
        values: `[inputs]`
        contributions: `[inputs]`, in log-odds (Saabas 2014).
        probability: What the model says.
    """
    top = np.argsort(-contributions, kind="stable")[:MOST_REASONS]
    raising = top[contributions[top] > 0]
    if len(raising):
        top, shares = raising, contributions[raising] / contributions[raising].sum()
    else:  # what lowers it least: a score is its reasons
        top, shares = top[:1], np.ones(1)
    said = []
    for index, part in zip(top.tolist(), shares.tolist(), strict=True):
        zh, en = words_of(names[index], float(values[index]))
        strength = min(max(1 - (1 - probability) ** part, 0.0), 1.0)
        said.append(Reason(pattern=f"{MODEL}.{names[index]}", strength=strength, zh=zh, en=en))
    return tuple(said)
