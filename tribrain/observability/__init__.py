"""What is made of the list of metrics: Prometheus' files, Grafana's dashboard, and two pages of the docs.

``python -m tribrain.observability`` writes all of it; a test finds that it is current. ``alerts`` and
``panels`` are lists like the catalogue, and everything else is form.
"""
