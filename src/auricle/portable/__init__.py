"""Checkpoints as folders of open formats, for programs in any language that have ONNX Runtime."""
