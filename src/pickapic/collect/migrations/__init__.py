"""Alembic migrations, run by `pickapic serve` and `pickapic db upgrade`."""
