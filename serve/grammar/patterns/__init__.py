"""Patterns of JSON schemas: ECMA-262's regular expressions, in the dialect of the library.

`syntax.py` reads one to a tree (`tree.py`) of sets of characters (`characters.py`), `translate.py`
writes the tree for the library, and `schemas.py` finds the patterns of a schema. `search.py` finds
a pattern in a text, where it must be known which names it matches.
"""
