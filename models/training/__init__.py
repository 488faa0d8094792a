"""Trains, exports and evaluates models. The only place that imports TensorFlow; needs the extra ``training``."""
