"""Train MCNet: losses, one optimizer step, checkpoints, logging and validation."""
