"""``metadata.parquet`` for Hugging Face's VideoFolder: one row per video, identified by ``file_name``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import orjson

from trainers.datasets.rows import Row, Stored


def metadata(rows: Sequence[Row], places: Mapping[str, Stored]) -> bytes:
    """Parquet; ``critics`` is a JSON text, because critics differ between runs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "file_name": (pa.string(), [places[row.id].path for row in rows]),
        "prompt": (pa.string(), [row.caption for row in rows]),
        "id": (pa.string(), [row.id for row in rows]),
        **{name: (pa.string(), [row.record[name] for row in rows]) for name in ("task", "run_id")},
        "iteration": (pa.int64(), [row.record["iteration"] for row in rows]),
        **{
            name: (pa.float64(), [row.record[name] for row in rows])
            for name in ("reward", "probability", "critics_mean", "outcome")
        },
        "critics": (
            pa.string(),
            [orjson.dumps(row.record["critics"], option=orjson.OPT_SORT_KEYS).decode() for row in rows],
        ),
        "sha256": (pa.string(), [places[row.id].sha256 for row in rows]),
    }
    table = pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())
