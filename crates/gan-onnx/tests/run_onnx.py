"""Checks an ONNX model of a generator and runs it: run_onnx.py MODEL Z.npy IMAGES.npy [LABEL...]"""
import sys, numpy as np, onnx, onnxruntime

model, latents, images, *labels = sys.argv[1:]
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
inputs = {"z": np.load(latents)}
if labels:
    inputs["label"] = np.array([int(label) for label in labels], np.int64)
np.save(images, session.run(["images"], inputs)[0])
