"""The report of a run: one self-contained HTML page and a Markdown twin, read from the run folder alone.

    build(run_dir) -> ReportData       what the folder holds, as plain data
    stage_table(data) -> list[dict]    one row a stage, for tables and JSON
    write(run_dir) -> (html, md)       report.html and report.md

Does not train, measure or import anything that does: a report can be made while the run goes on, or after it was
killed, and shows what there is.
"""

from zero2r1.report.data import ReportData, StageData, build
from zero2r1.report.page import write
from zero2r1.report.tables import stage_table

__all__ = ["ReportData", "StageData", "build", "stage_table", "write"]
