"""What the small model that sees is trained on: pictures of shapes, and questions about them."""
