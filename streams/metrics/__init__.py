"""What a process says of itself: one list of metrics, read when they are asked for.

``catalogue`` is the list: names, types, labels, help, and who exposes them. ``instruments`` is a process's
registry, made of the list; what it shows is read from the objects that count, at the moment of a scrape, so
counting costs an addition. ``endpoint`` serves ``/metrics`` and ``/health``, ``textfile`` writes the metrics
into a file, ``health`` is the condition of a process in one sentence, and ``lag`` how far behind it is.
"""
