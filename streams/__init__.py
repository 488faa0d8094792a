"""The live path: Faust agents and the alert feed, a thin shell around models."""
