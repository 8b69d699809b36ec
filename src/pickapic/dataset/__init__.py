"""Preference datasets as Parquet files: the schema, reading, writing, cleaning, splitting."""
