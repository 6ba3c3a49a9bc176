"""`make demo`: the main job, for real, in front of people's eyes."""
