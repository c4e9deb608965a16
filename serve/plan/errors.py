"""Why there is no plan: what is wrong with what is asked, or what broke."""


class PlanError(ValueError):
    """A plan that cannot be made; the message says why and what to do."""


class CompilerError(RuntimeError):
    """The TPU's compiler failed at a program, or died; the message says how."""
