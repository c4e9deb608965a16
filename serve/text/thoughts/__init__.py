"""What models think before they answer: how families mark it, and how it is told from answers."""
