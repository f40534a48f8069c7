"""The hooks of a training, in mmengine's sense."""
