"""Examples of the OpenAPI document; the account numbers are invented."""

from typing import Any, Final

CHECK: Final[dict[str, Any]] = {
    "amount": "98000.00",
    "payer_account": "6222021234567890123",
    "payee_account": "6217009876543210987",
    "channel": "counter",
    "kind": "transfer",
    "customer": {
        "age": 67,
        "relation": "met_online",
        "purpose": "investment",
        "payee_kind": "company",
        "deposit_broken_early": True,
    },
}
CHECKS: Final[dict[str, Any]] = {
    "checks": [CHECK, {"amount": 200, "payer_account": "6222021234567890123"}]
}
