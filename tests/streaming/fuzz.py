"""Malformed and mutated messages through the columnar decoder and through the model.

`python -m tests.streaming.fuzz --messages 1000000 --seed 1`, or `make fuzz`: both must give equal
verdicts and equal values, never an exception, and a name for each refusal. A message on which they
differ is written to a file, and `--message FILE` reads such a file again.
"""

from __future__ import annotations

import argparse
import json
import random
import string
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from tests.streaming.fuzz_messages import RULES, Message, make_message

from sluicegate.domain.transaction import (
    CHANNEL_CODES,
    KIND_CODES,
    Refusal,
    Refused,
    Transaction,
    parse_transaction,
)
from sluicegate.memory.words import words_text
from sluicegate.operations.progress import counted
from sluicegate.streaming.decoder import Decoded, Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BATCH: Final = 1_000

Verdict = tuple[object, ...] | Refused | None


# What is compared.


@dataclass
class Findings:
    """What the messages came to."""

    accepted: int = 0
    refused: Counter[Refusal] = field(default_factory=Counter)
    unsure: int = 0
    """Left to the model by the decoder's kernel."""
    differences: list[tuple[Message, str]] = field(default_factory=list)
    exceptions: list[tuple[Message, str]] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not self.differences and not self.exceptions

    def add(self, other: Findings) -> None:
        self.accepted += other.accepted
        self.refused += other.refused
        self.unsure += other.unsure
        self.differences += other.differences
        self.exceptions += other.exceptions


def compare(messages: Sequence[Message], decoder: Decoder) -> Findings:
    """Decodes the messages in one batch and reads each with the model.

    Where the batch fails each message is taken alone, so that the guilty one is named.
    """
    findings = Findings()
    try:
        decoded = _decode(messages, decoder)
        found = _verdicts(decoded, len(messages))
        findings.unsure = decoded.unsure
    except Exception as error:  # noqa: BLE001 - any exception is a finding
        if len(messages) > 1:
            for message in messages:
                findings.add(compare([message], decoder))
        else:
            findings.exceptions.append((messages[0], f"decoder: {error!r}"))
        return findings
    for message, by_decoder in zip(messages, found, strict=True):
        try:
            read = parse_transaction(message.value, message.recorded_at_ms, RULES)
        except Exception as error:  # noqa: BLE001 - any exception is a finding
            findings.exceptions.append((message, f"model: {error!r}"))
            continue
        by_model = read if isinstance(read, Refused) else _row(read)
        if by_decoder != by_model or not _is_named(by_model):
            findings.differences.append((message, f"decoder {by_decoder!r}, model {by_model!r}"))
        if isinstance(read, Refused):
            findings.refused[read.refusal] += 1
        else:
            findings.accepted += 1
    return findings


def _decode(messages: Sequence[Message], decoder: Decoder) -> Decoded:
    recorded = np.array([message.recorded_at_ms for message in messages], np.int64)
    return decoder.decode([message.value for message in messages], recorded)


def _verdicts(decoded: Decoded, count: int) -> list[Verdict]:
    """What the decoder said of each message; None: nothing at all."""
    verdicts: list[Verdict] = [None] * count
    rows = zip(
        words_text(decoded.transaction),
        words_text(decoded.payer),
        words_text(decoded.payee),
        decoded.amount_minor.tolist(),
        decoded.occurred_at_ms.tolist(),
        decoded.channel.tolist(),
        decoded.kind.tolist(),
        strict=True,
    )
    for index, row in zip(decoded.row_index.tolist(), rows, strict=True):
        verdicts[index] = row
    for index, refused in decoded.refused:
        verdicts[index] = refused
    return verdicts


def _row(transaction: Transaction) -> Verdict:
    return (
        transaction.id,
        transaction.payer_account or "",
        transaction.payee_account or "",
        transaction.amount_minor,
        transaction.occurred_at_ms,
        CHANNEL_CODES[transaction.channel],
        KIND_CODES[transaction.kind],
    )


def _is_named(verdict: Verdict) -> bool:
    return not isinstance(verdict, Refused) or bool(verdict.refusal and verdict.detail)


def fuzz(
    messages: int, seed: int, told: Callable[[int, int], None] = lambda _done, _of: None
) -> Findings:
    """Makes and compares so many messages; the same ones for the same seed."""
    decoder = Decoder(RULES)
    findings = Findings()
    for start in range(0, messages, BATCH):
        draw = random.Random(f"{seed}-{start}")
        count = min(BATCH, messages - start)
        findings.add(compare([make_message(draw) for _ in range(count)], decoder))
        told(start + count, messages)
    return findings


# The command.


def report(findings: Findings, seed: int, folder: Path) -> str:
    """The counts for people; what was found is written to files in the folder."""
    refused = sum(findings.refused.values())
    lines = [
        f"{findings.accepted + refused:,} messages, seed {seed}",
        f"{findings.accepted:>12,}  accepted",
        f"{refused:>12,}  refused; the kernel left {findings.unsure:,} to the model",
    ]
    lines += [f"{count:>12,}  {refusal}" for refusal, count in findings.refused.most_common()]
    for number, (message, detail) in enumerate([*findings.differences, *findings.exceptions][:20]):
        path = folder / f"fuzz-{seed}-{number}.json"
        value = None if message.value is None else message.value.hex()
        kept = {"value_hex": value, "recorded_at_ms": message.recorded_at_ms, "found": detail}
        path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        shown = "".join(each if each in string.printable else "?" for each in detail[:400])
        lines += [shown, f"  again: python -m tests.streaming.fuzz --message {path}"]
    lines.append(
        f"differences: {len(findings.differences)}, exceptions: {len(findings.exceptions)}"
    )
    return "\n".join(lines) + "\n"


def read_again(path: Path) -> Findings:
    """Compares the one message of a file that `report` wrote."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    value = None if kept["value_hex"] is None else bytes.fromhex(kept["value_hex"])
    return compare([Message(value, kept["recorded_at_ms"])], Decoder(RULES))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--message", type=Path, help="a file that an earlier run wrote")
    parser.add_argument("--folder", type=Path, default=Path(), help="where files are written to")
    chosen = parser.parse_args(arguments)
    if chosen.message is not None:
        findings = read_again(chosen.message)
    else:
        with counted("messages") as told:
            findings = fuzz(chosen.messages, chosen.seed, told)
    sys.stdout.write(report(findings, chosen.seed, chosen.folder))
    return 0 if findings.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
