"""Metrics and health of a process.

``catalogue`` lists all metrics: names, types, labels, help, and the services that expose them.
``instruments`` is a process's registry, built from that list. It reads values at scrape time from the objects
that count, so counting costs one addition. ``endpoint`` serves ``/metrics`` and ``/health``, ``textfile``
writes the metrics to a file, ``health`` states a process's condition in one sentence, and ``lag`` measures
how far behind a reader is.
"""
