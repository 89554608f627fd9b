"""Alerts on their way to the people who act on them."""
