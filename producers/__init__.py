"""The world to topics: recordings and the simulated hospital."""
