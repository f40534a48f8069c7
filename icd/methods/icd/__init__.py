"""Instance-conditional knowledge distillation, one concept a file."""
