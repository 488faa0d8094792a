"""Models of vital signs: anomaly, forecast, deterioration. Numpy and ONNX Runtime; no broker, no clock, no training."""
