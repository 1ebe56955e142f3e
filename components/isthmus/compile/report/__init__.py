"""What people see of a compile: `table` for a terminal, `html` for one page that opens offline. Both show the same figures (`rows`)."""

from isthmus.compile.report.page import html
from isthmus.compile.report.rows import Row, rows_of
from isthmus.compile.report.terminal import table

__all__ = ["Row", "html", "rows_of", "table"]
