"""Watches every account transaction as it happens, and stops fraud while there is money left."""
