"""Grammars that answers must follow: JSON schemas, Lark and regex, to token masks by llguidance."""
