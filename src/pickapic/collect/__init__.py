"""Collecting preferences: tables, the queue, and the pick loop. No HTTP here."""
