"""The ladder of measures: what can be done to an account, lightest first."""

from enum import StrEnum


class Measure(StrEnum):
    """One step of the ladder; the order of the members is the order of severity."""

    NONE = "none"
    WATCH = "watch"
    VERIFY = "verify"
    DELAY = "delay"
    LIMIT = "limit"
    SUSPEND_NON_COUNTER = "suspend_non_counter"
    RECEIVE_ONLY = "receive_only"
    FREEZE_BOTH = "freeze_both"
    STOP_PAYMENT = "stop_payment"
    FREEZE = "freeze"

    @property
    def title_zh(self) -> str:
        """The measure in the words of the desk."""
        return _TITLES_ZH[self]

    @property
    def severity(self) -> int:
        """The step on the ladder, 0 for none."""
        return _SEVERITY[self]


_TITLES_ZH = {
    Measure.NONE: "无",
    Measure.WATCH: "关注",
    Measure.VERIFY: "核实",
    Measure.DELAY: "延迟到账",
    Measure.LIMIT: "限额",
    Measure.SUSPEND_NON_COUNTER: "暂停非柜面",
    Measure.RECEIVE_ONLY: "只收不付",
    Measure.FREEZE_BOTH: "不收不付",
    Measure.STOP_PAYMENT: "止付",
    Measure.FREEZE: "冻结",
}
_SEVERITY = {measure: step for step, measure in enumerate(Measure)}
