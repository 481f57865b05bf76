"""Generates Prometheus' files, Grafana's dashboard and two pages of the docs from the list of metrics.

``python -m tribrain.observability`` writes all of it; a test checks that it is current. ``alerts`` and
``panels`` are lists like the catalogue, and everything else is form.
"""
