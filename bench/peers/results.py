"""Measured cells as CSV: one row a cell, the same columns whatever run they are from. What a column is:
bench/results/README.md. Plain Python: no PyTorch, no GPU."""

import csv
import io

from . import table
from .cells import PROBLEMS, SIZES

TEXTS = ("gpu", "date", "revision", "run", "dtype", "model", "projection", "routing", "cublas_form", "deepgemm_form",
         "match", "tile")
# A column's name here, and the name of the same number in a row of peers.json.
NUMBERS = {"tokens": "batch", "rows": "rows", "active_experts": "active", "expertile_us": "expertile",
           "built_in_us": "default", "uniform_us": "uniform", "triton_us": "triton", "torch_us": "torch",
           "cublas_us": "cublas", "deepgemm_us": "deepgemm", "dense_us": "dense", "bytes": "bytes", "flops": "flops",
           "copy_tbps": "copy_tbps", "dense_tflops": "dense_tflops"}
COLUMNS = ("gpu", "date", "revision", "run", "dtype", "model", "projection", "tokens", "routing", "rows", "active_experts",
           "expertile_us", "built_in_us", "uniform_us", "triton_us", "torch_us", "cublas_us", "cublas_form", "deepgemm_us",
           "deepgemm_form", "dense_us", "bytes", "flops", "copy_tbps", "dense_tflops", "match", "tile")


def number_text(value):
    return "" if value is None else f"{value:.10g}"


def to_record(row):
    """A CSV row of a row of peers.json."""
    model, projection = row["problem"].split(".")
    tile = row.get("config")
    record = {text: row.get(text) for text in TEXTS}
    record |= {"model": model, "projection": projection,
               "tile": " ".join(f"{key}={value}" for key, value in tile.items()) if tile else None}
    record |= {column: number_text(row.get(name)) for column, name in NUMBERS.items()}
    return {column: record.get(column) or "" for column in COLUMNS}


def to_row(record):
    """A row as table.py wants it, of a CSV row."""
    row = {name: float(record[column]) if record[column] else None for column, name in NUMBERS.items()}
    row |= {text: record[text] or None for text in TEXTS}
    row["problem"] = f"{record['model']}.{record['projection']}"
    row["batch"] = int(row["batch"])
    experts, n, k, _, _ = PROBLEMS[row["problem"]]
    if row["rows"] and row["active"]:
        row["rows_an_expert"] = row["rows"] / experts
        row["weight_bytes"] = row["active"] * n * k * SIZES[row["dtype"]][1]
    return table.with_best_peer(row)


def csv_text(rows):
    """Of rows of peers.json, in the order of the tables; skewed routing behind uniform."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(to_record(row) for row in sorted(rows, key=lambda r: (r["routing"] != "uniform", table.place(r))))
    return out.getvalue()


def read_rows(path):
    with open(path, newline="") as file:
        return [to_row(record) for record in csv.DictReader(file)]
