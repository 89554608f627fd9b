"""Watches every account transaction as it happens and stops fraud rings before the money is gone."""
