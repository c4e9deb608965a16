"""Pictures → patches, for each family as the reference does it."""
