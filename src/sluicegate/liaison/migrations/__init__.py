"""Versions of the database of the desk, which Alembic runs."""
