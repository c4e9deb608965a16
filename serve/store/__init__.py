"""Stored completions and files: JSON and columns in a database, uploads beside it."""
