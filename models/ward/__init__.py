"""The pure core of the ward: step(state, input, now) -> (state, outputs)."""
