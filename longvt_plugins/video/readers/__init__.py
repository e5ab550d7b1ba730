"""Classes that decode video files, one file a library; each is a plugin like anybody's."""
