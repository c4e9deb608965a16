"""What can be wrong with what is asked of a plan."""


class PlanError(ValueError):
    """A plan that cannot be made; the message says why and what to do."""
