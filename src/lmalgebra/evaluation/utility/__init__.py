"""What voices still can: lm-evaluation-harness asks them. Only `suite` can be imported without it."""
