"""A seeded city with planted frauds, and an auditor that shares no code with the pipeline."""
