"""Where shots end: our fused pass over a film, and the detectors of PySceneDetect by name."""
