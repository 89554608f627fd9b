"""Running it: embedded broker, supervision, metrics, demo, benchmark."""
