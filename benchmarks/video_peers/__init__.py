"""What ``benchmarks/video.py`` measures: one file for each way to read a video, each run in processes of its own.

Nothing here but :mod:`video_peers.ours` and :mod:`video_peers.group` imports this project, so that the others are
measured in any Python that has them.
"""
