"""The worker that reads images: gate, model, heat map."""
